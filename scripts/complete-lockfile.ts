/**
 * Adds to `package-lock.json` the optional packages of other platforms that npm left out.
 *
 *     npm install && npx tsx scripts/complete-lockfile.ts
 *
 * npm drops an optional package from the lock file when the registry in use does not serve it, and `npm ci` then
 * refuses the lock file as out of step, on every platform. An entry with the version and the platform is enough:
 * npm passes over packages of other platforms without fetching them, and fetches those of its own by version.
 */
import { readFileSync, writeFileSync } from 'node:fs';

interface LockedPackage {
  version?: string;
  dev?: boolean;
  optional?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
}

const path = 'package-lock.json';
const systems = [
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'aix',
  'win32',
];
const processors = [
  'arm64',
  'arm',
  'x64',
  'ia32',
  'riscv64',
  'ppc64',
  's390x',
  'loong64',
  'mips64el',
  'wasm32',
];

/** The platform that a package is for, told from its name, e.g. `@biomejs/cli-linux-x64-musl`. */
function platformOf(name: string): Pick<LockedPackage, 'os' | 'cpu' | 'libc'> {
  const words = (name.split('/').at(-1) ?? name).split(/[-.]/);
  const os = systems.filter((system) => words.includes(system));
  const cpu = processors.filter((processor) => words.includes(processor));
  const libc = [
    ...(words.some((word) => word.startsWith('musl')) ? ['musl'] : []),
    ...(words.some((word) => word.startsWith('gnu')) ? ['glibc'] : []),
  ];
  return { ...(os.length > 0 && { os }), ...(cpu.length > 0 && { cpu }), ...(libc.length > 0 && { libc }) };
}

const lock: { packages: Record<string, LockedPackage> } = JSON.parse(readFileSync(path, 'utf8'));
const added: string[] = [];
for (const owner of Object.values(lock.packages)) {
  for (const [name, range] of Object.entries(owner.optionalDependencies ?? {})) {
    const place = `node_modules/${name}`;
    const known = lock.packages[place];
    if (known?.version !== undefined) continue;
    const platform = platformOf(name);
    if (platform.os === undefined && platform.cpu === undefined) continue;
    lock.packages[place] = {
      version: range.replace(/^[^\d]*/, ''),
      ...platform,
      ...(owner.dev && { dev: true }),
      optional: true,
    };
    added.push(name);
  }
}
const inOrder = Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1));
lock.packages = Object.fromEntries(inOrder);
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(`${added.length} packages added to ${path}\n`);

import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Flavour, tensorflowVersion } from '../../src/compute/tensorflow/native-package.js';
import { installAddonPackage } from './addon-package.js';
import { buildAddon } from './build-addon.js';
import { runProgram } from './run-program.js';

/** Of the wheel: the two libraries that export the C interface, its headers, and the list of what it needs. */
const wantedFiles =
  '^tensorflow/(libtensorflow_(cc|framework)[.]|include/(tensorflow/(c|core/platform)|tsl|xla/tsl)/)|/METADATA$';

/** Of NVIDIA's packages: libraries and programs, without headers. */
const nvidiaFiles = '^nvidia/(?!.*/include/)';

const unpack = `
import os, re, sys, zipfile
wheel, folder, wanted = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for member in archive.infolist():
        if re.search(wanted, member.filename):
            path = archive.extract(member, folder)
            if member.external_attr >> 16 & 0o100:
                os.chmod(path, 0o755)
`;

/** The C library out of TensorFlow's wheel, and the addon built for it. */
export async function fromWheel(
  folder: string,
  flavour: Flavour,
  say: (line: string) => void,
): Promise<string> {
  const machine = wheelMachine();
  // Only for this processor there is a wheel without CUDA, which is a third of the size.
  const isSmall = flavour === 'tensorflow' && process.arch === 'x64';
  const name = isSmall ? 'tensorflow-cpu' : 'tensorflow';
  const libraries = join(folder, 'site-packages');
  say(`  ${name} ${tensorflowVersion}: downloading`);
  await unpackWheel(`${name}==${tensorflowVersion}`, { folder: libraries, machine, wanted: wantedFiles });
  if (flavour === 'tensorflow-gpu') {
    for (const requirement of await nvidiaRequirements(libraries)) {
      say(`  ${requirement}: downloading`);
      await unpackWheel(requirement, { folder: libraries, machine, wanted: nvidiaFiles });
    }
  }
  say(`  tfjs-node: installing, and building its addon`);
  const addon = await installAddonPackage(folder, { scripts: false });
  await buildAddon(folder, addon, join(libraries, 'tensorflow'));
  return `TensorFlow ${tensorflowVersion} from PyPI (${name})`;
}

/** NVIDIA's packages that a TensorFlow asks for, as it states them itself. */
async function nvidiaRequirements(libraries: string): Promise<readonly string[]> {
  const information = (await readdir(libraries)).find((entry) => entry.endsWith('.dist-info'));
  const metadata = await readFile(join(libraries, information ?? '', 'METADATA'), 'utf8');
  const stated = [...metadata.matchAll(/^Requires-Dist: (nvidia-[^;]+); extra == "and-cuda"/gm)];
  if (stated.length === 0)
    throw new Error(`the wheel of TensorFlow ${tensorflowVersion} names no CUDA libraries`);
  return stated.map(([, requirement]) => requirement as string);
}

/** The processor's name in a wheel's name. */
function wheelMachine(): string {
  const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch as string];
  if (process.platform !== 'linux' || machine === undefined) {
    throw new Error(
      `expected Linux on x64 or arm64, got ${process.platform}-${process.arch}: tfjs-node's own way may serve it ` +
        '(npm install @tensorflow/tfjs-node)',
    );
  }
  return machine;
}

/** Downloads one wheel by pip, which checks its digest, and unpacks the files that are wanted. */
async function unpackWheel(
  requirement: string,
  { folder, machine, wanted }: { folder: string; machine: string; wanted: string },
): Promise<void> {
  const downloads = join(folder, '.wheels');
  await mkdir(downloads, { recursive: true });
  await runProgram('python3', [
    ...['-m', 'pip', 'download', requirement, '--dest', downloads],
    ...['--no-deps', '--only-binary=:all:', '--disable-pip-version-check', '--quiet'],
    ...['--python-version', '3.12', '--implementation', 'cp', '--abi', 'cp312'],
    ...['2_27', '2_17', '2014'].flatMap((system) => [
      '--platform',
      `manylinux${system === '2014' ? system : `_${system}`}_${machine}`,
    ]),
  ]);
  for (const file of await readdir(downloads)) {
    await runProgram('python3', ['-c', unpack, join(downloads, file), folder, wanted]);
  }
  await rm(downloads, { recursive: true });
}

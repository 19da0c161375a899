import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the installed package, which holds `package.json`, `pipelines`, `datasets` and `pages`. */
export function packageFolder(): string {
  return fileURLToPath(new URL('../../', import.meta.url)).replace(/[\\/]$/, '');
}

/** The version of kd-spec, as its `package.json` says. */
export function packageVersion(): string {
  const manifest: { version: string } = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  );
  return manifest.version;
}

/**
 * What to type so that kd-spec finds packages that it can do without.
 *
 * npm passes over them in a clone, whose manifest calls them optional peers, unless it is told to install them; there the
 * manifest stays as it is. A program that is installed for all of a machine finds what lies beside it.
 *
 * @param packages and flags of npm's
 */
export function installCommand(packages: readonly string[], folder: string = packageFolder()): string {
  const above = dirname(folder);
  const isClone = existsSync(join(folder, 'tsconfig.json'));
  const isGlobal =
    !isClone && basename(above) === 'node_modules' && !existsSync(join(dirname(above), 'package.json'));
  const words = isClone ? ['--no-save', '--save-optional'] : isGlobal ? ['--global'] : [];
  return [
    ...(isClone ? ['npm', '--prefix', quoted(folder)] : ['npm']),
    'install',
    ...words,
    ...packages,
  ].join(' ');
}

/** A path as a shell reads it. */
function quoted(path: string): string {
  return /^[\w./\\:@+-]+$/.test(path) ? path : `"${path}"`;
}

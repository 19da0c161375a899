import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Flavour, tensorflowVersion } from '../../src/compute/tensorflow/native-folder.js';
import { installAddonPackage } from './addon-package.js';
import { buildAddon } from './build-addon.js';
import { runProgram } from './run-program.js';

/** Of the wheel: the two libraries that export the C interface, its headers, and the list of what it needs. */
const wantedFiles =
  '^tensorflow/(libtensorflow_(cc|framework)[.]|include/(tensorflow/(c|core/platform)|tsl|xla/tsl)/)|/METADATA$';

const unpack = `
import re, sys, zipfile
wheel, folder, wanted = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    names = [name for name in archive.namelist() if re.search(wanted, name)]
    archive.extractall(folder, names)
`;

/** The C library out of TensorFlow's wheel, and the addon built for it. */
export async function fromWheel(
  folder: string,
  flavour: Flavour,
  say: (line: string) => void,
): Promise<string> {
  const platform = wheelPlatform();
  // Only for this processor there is a wheel without CUDA, which is a third of the size.
  const isSmall = flavour === 'tensorflow' && process.arch === 'x64';
  const name = isSmall ? 'tensorflow-cpu' : 'tensorflow';
  const libraries = join(folder, 'site-packages');
  say(`  ${name} ${tensorflowVersion}: downloading`);
  await unpackWheel(`${name}==${tensorflowVersion}`, { folder: libraries, platform, wanted: wantedFiles });
  say(`  tfjs-node: installing, and building its addon`);
  const addon = await installAddonPackage(folder, { scripts: false });
  await buildAddon(folder, addon, join(libraries, 'tensorflow'));
  return `TensorFlow ${tensorflowVersion} from PyPI (${name})`;
}

/** The platform's name in a wheel's name. */
function wheelPlatform(): string {
  const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch as string];
  if (process.platform !== 'linux' || machine === undefined) {
    throw new Error(
      `expected Linux on x64 or arm64, got ${process.platform}-${process.arch}: tfjs-node's own way may serve it ` +
        '(npm install @tensorflow/tfjs-node)',
    );
  }
  return `manylinux_2_27_${machine}`;
}

/** Downloads one wheel by pip, which checks its digest, and unpacks the files that are wanted. */
async function unpackWheel(
  requirement: string,
  { folder, platform, wanted }: { folder: string; platform: string; wanted: string },
): Promise<void> {
  const downloads = join(folder, '.wheels');
  await mkdir(downloads, { recursive: true });
  await runProgram('python3', [
    ...['-m', 'pip', 'download', requirement, '--dest', downloads],
    ...['--no-deps', '--only-binary=:all:', '--disable-pip-version-check', '--quiet'],
    ...['--python-version', '3.12', '--implementation', 'cp', '--abi', 'cp312', '--platform', platform],
  ]);
  for (const file of await readdir(downloads)) {
    await runProgram('python3', ['-c', unpack, join(downloads, file), folder, wanted]);
  }
  await rm(downloads, { recursive: true });
}

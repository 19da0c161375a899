/**
 * Gets a native TensorFlow backend for this machine.
 *
 *   npm run native                  TensorFlow on the processor
 *   npm run native -- --gpu         TensorFlow with CUDA, and NVIDIA's libraries
 *   npm run native -- --from pypi   leaves out the first way below
 *   npm run native -- --force       makes it again
 *
 * First tfjs-node's own way is tried, which downloads the C library that it was released with; where that cannot be
 * reached, TensorFlow's wheel from PyPI, whose libraries export the same C interface, and the addon built for it.
 * A GPU is always served by the wheel: tfjs-node's own library needs CUDA 11. The result is checked by training and
 * kept in a folder of the machine (see src/compute/tensorflow/native-package.ts), which `npm ci` does not empty.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  type Flavour,
  nativeFolder,
  nativeFolderName,
  nativeManifestFile,
  nativeRoot,
} from '../src/compute/tensorflow/native-package.js';
import { check } from './native/check.js';
import { fromOwnWay } from './native/own-way.js';
import { fromWheel } from './native/wheel.js';

const { values: options } = parseArgs({
  options: {
    gpu: { type: 'boolean', default: false },
    from: { type: 'string', default: 'any' },
    force: { type: 'boolean', default: false },
  },
});
if (!['any', 'npm', 'pypi'].includes(options.from)) {
  throw new Error(`expected --from npm or --from pypi, got --from ${options.from}`);
}
const flavour: Flavour = options.gpu ? 'tensorflow-gpu' : 'tensorflow';
const ways = {
  npm: { name: "tfjs-node's own library", make: fromOwnWay },
  pypi: { name: "TensorFlow's wheel from PyPI", make: fromWheel },
};
const chosen =
  options.from === 'npm' || options.from === 'pypi'
    ? [ways[options.from]]
    : options.gpu
      ? [ways.pypi]
      : [ways.npm, ways.pypi];

const say = (line: string) => console.error(line);
const target = nativeFolder(flavour);

if (existsSync(join(target, nativeManifestFile)) && !options.force) {
  say(`${flavour} is there: ${target}`);
  say(await check(flavour, nativeRoot()));
} else {
  await make();
}

async function make(): Promise<void> {
  const root = join(nativeRoot(), `.partial-${process.pid}`);
  const folder = join(root, nativeFolderName(flavour));
  const failures: string[] = [];
  await removeRemains();
  try {
    for (const way of chosen) {
      say(`${flavour}: trying ${way.name}`);
      await rm(root, { recursive: true, force: true });
      await mkdir(folder, { recursive: true });
      try {
        const origin = await way.make(folder, flavour, say);
        const manifest = { origin, madeAt: new Date().toISOString() };
        await writeFile(join(folder, nativeManifestFile), `${JSON.stringify(manifest, null, 2)}\n`);
        const verdict = await check(flavour, root);
        await rm(target, { recursive: true, force: true });
        await mkdir(dirname(target), { recursive: true });
        await rename(folder, target);
        say(`${flavour}: ${origin}, in ${target}`);
        say(verdict);
        return;
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        failures.push(`${way.name}: ${reason}`);
        say(`  no: ${reason}`);
      }
    }
  } finally {
    await rm(root, { recursive: true, force: true });
  }
  say(`error: ${flavour} could not be had here\n${failures.map((failure) => `  ${failure}`).join('\n')}`);
  process.exitCode = 1;
}

/** Removes what runs that were killed left behind. */
async function removeRemains(): Promise<void> {
  for (const entry of await readdir(nativeRoot()).catch(() => [])) {
    const [, pid] = /^\.partial-(\d+)$/.exec(entry) ?? [];
    if (pid !== undefined && !isRunning(Number(pid))) {
      await rm(join(nativeRoot(), entry), { recursive: true, force: true });
    }
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tfjsNodeVersion } from '../../src/compute/tensorflow/native-package.js';
import { runProgram } from './run-program.js';

/** What builds the addon: only the interface of Node-API, so that one addon serves every release of Node. */
const buildTools = { 'node-gyp': '11.5.0', 'node-api-headers': '1.9.0' };

/**
 * Installs tfjs-node into a folder of its own.
 *
 * It finds no TensorFlow.js there but a module that is the TensorFlow.js of the program that loads it: two of them in one
 * process would not know each other's tensors.
 *
 * @param options.scripts whether its install script runs, which downloads the C library and the addon
 * @returns the folder of the package
 */
export async function installAddonPackage(
  folder: string,
  options: { readonly scripts: boolean },
): Promise<string> {
  const standIns = await Promise.all(['tfjs', 'tfjs-core'].map((name) => writeStandIn(folder, name)));
  const [tfjs, core] = standIns.map((name) => `file:./stand-ins/${name}`);
  await writeJson(join(folder, 'package.json'), {
    private: true,
    dependencies: {
      '@tensorflow/tfjs-node': tfjsNodeVersion,
      '@tensorflow/tfjs-core': core,
      ...(options.scripts ? {} : buildTools),
    },
    overrides: { '@tensorflow/tfjs': tfjs },
  });
  const quiet = ['--no-audit', '--no-fund', '--loglevel', 'error'];
  await runProgram('npm', ['install', ...quiet, ...(options.scripts ? [] : ['--ignore-scripts'])], {
    folder,
  });
  return join(folder, 'node_modules', '@tensorflow', 'tfjs-node');
}

async function writeStandIn(folder: string, name: string): Promise<string> {
  const standIn = join(folder, 'stand-ins', name);
  await mkdir(standIn, { recursive: true });
  await writeJson(join(standIn, 'package.json'), { name: `@tensorflow/${name}`, version: tfjsNodeVersion });
  await writeFile(
    join(standIn, 'index.js'),
    "module.exports = globalThis[Symbol.for('kd-spec.tensorflow.js')];\n",
  );
  return name;
}

const writeJson = (path: string, value: unknown) => writeFile(path, `${JSON.stringify(value, null, 2)}\n`);

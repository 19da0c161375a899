import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import type { Operations } from '../operations.js';
import { claim, silenceHint } from '../tensorflow-js/engine.js';
import { type Kernels, plainKernels } from '../tensorflow-js/kernels.js';
import { createOperations } from '../tensorflow-js/operations.js';
import { geometricMeanOnHost } from '../wasm/geometric-mean.js';
import { batchNormaliseBy, normaliseBy } from './batch-normalise.js';
import { conv2dBy, denseBy, maxPool2dBy, softmaxCrossEntropyBy } from './layers.js';
import { createNativeOperations, type NativeOperations } from './native-operations.js';
import { type Flavour, findNativePackage } from './native-package.js';
import { adamWStepBy, sgdStepBy } from './optimizer-step.js';

const require = createRequire(import.meta.url);

let loaded: Flavour | undefined;

/**
 * Loads TensorFlow's addon, which registers the TensorFlow.js backend `tensorflow`.
 *
 * @returns its operations, on the processor where a build for GPUs finds none that it can use; or what is missing
 */
export async function loadNative(flavour: Flavour): Promise<Operations | { readonly missing: string }> {
  const found = findNativePackage(flavour);
  if ('missing' in found) return { missing: found.missing };
  if (loaded !== undefined && loaded !== flavour) {
    return { missing: `this process has loaded ${loaded}, and a process can hold one build of TensorFlow` };
  }
  prepareProcess();
  loaded = flavour;
  const host = tf.getBackend();
  try {
    requireQuietly(found.folder); // puts itself in force
  } catch (error) {
    return { missing: error instanceof Error ? error.message : String(error) };
  } finally {
    if (host) await tf.setBackend(host);
  }
  const backend = tf.findBackend('tensorflow');
  if (!backend) return { missing: 'TensorFlow.js could not start it' };
  silenceHint();
  if (!host) claim('tensorflow');
  const native = createNativeOperations(backend);
  return createOperations({
    name: native.usesGpu ? 'tensorflow-gpu' : 'tensorflow',
    registered: 'tensorflow',
    kernels: kernelsBy(native),
  });
}

function kernelsBy(native: NativeOperations): Kernels {
  return {
    ...plainKernels,
    geometricMean: geometricMeanOnHost,
    conv2d: conv2dBy(native),
    dense: denseBy(native),
    maxPool2d: maxPool2dBy(native),
    batchNormalise: batchNormaliseBy(native),
    normalise: normaliseBy(native),
    softmaxCrossEntropy: softmaxCrossEntropyBy(native),
    adamWStep: adamWStepBy(native),
    sgdStep: sgdStepBy(native),
  };
}

/** What must hold before the addon is loaded. */
function prepareProcess(): void {
  // TensorFlow tells of every feature of the processor; its errors come to us as exceptions.
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  // Several processes may share a GPU, so that none may take all of its memory at its start.
  process.env.TF_FORCE_GPU_ALLOW_GROWTH ??= 'true';
  Object.assign(process.env, signalSafety());
  // tfjs-node 4.22 calls functions that Node 23 removed, and that Node 22 warns of.
  Object.assign(require('node:util'), {
    isArray: Array.isArray,
    isNullOrUndefined: (value: unknown) => value === null || value === undefined,
  });
  // The folder that `npm run native` makes holds, in place of TensorFlow.js, a module that is whatever stands here:
  // the addon must register itself with the same TensorFlow.js that kd-spec computes with.
  Object.assign(globalThis, { [Symbol.for('kd-spec.tensorflow.js')]: require('@tensorflow/tfjs') });
}

/** Loads the addon; `npm run native` puts a module beside it that keeps standard error clean meanwhile. */
function requireQuietly(folder: string): void {
  const path = join(folder, 'lib', 'quiet.node');
  const quiet: { turnAway(): void; turnBack(): void } | undefined = existsSync(path)
    ? require(path)
    : undefined;
  quiet?.turnAway();
  try {
    require(folder);
  } finally {
    quiet?.turnBack();
  }
}

/**
 * The environment in which signals do no harm to TensorFlow, to be set before it is loaded.
 *
 * TensorFlow has oneDNN's sgemm multiply the blocks of its products and convolutions. On a processor without AVX-512
 * a signal that is handled meanwhile (Ctrl-C, SIGTERM, a profiler's) corrupts the heap, and the process aborts
 * (TensorFlow 2.21; why was not found out). Eigen's own code, which took a tenth to a half more time on such a
 * processor, is not harmed. With AVX-512 another kernel multiplies, which is not harmed either.
 *
 * @param processor what /proc/cpuinfo says
 * @param env a choice that the user made stays
 */
export function signalSafety(
  processor = describedProcessor(),
  env: NodeJS.ProcessEnv = process.env,
): Readonly<Record<string, string>> {
  const { [variable]: chosen = /\bavx512f\b/.test(processor) ? undefined : 'false' } = env;
  return chosen === undefined ? {} : { [variable]: chosen };
}

const variable = 'TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL';

/** Empty where the system does not tell. */
function describedProcessor(): string {
  try {
    return readFileSync('/proc/cpuinfo', 'utf8');
  } catch {
    return '';
  }
}

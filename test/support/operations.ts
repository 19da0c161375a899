import * as tf from '@tensorflow/tfjs';
import { type BackendName, selectBackend } from '../../src/compute/backend.js';
import type { Operations, Tensor } from '../../src/compute/operations.js';
import { plainKernels } from '../../src/compute/tensorflow-js/kernels.js';
import { createOperations } from '../../src/compute/tensorflow-js/operations.js';
import { createHeap, type Heap } from '../../src/compute/wasm/heap.js';
import { assert } from '../../src/core/errors.js';
import type { Network } from '../../src/models/network.js';

/** The operations of a backend; `cpu` is TensorFlow.js's own, the oracle. */
export async function operationsOn(backend: BackendName | 'cpu'): Promise<Operations> {
  if (backend !== 'cpu') return (await selectBackend(backend)).operations;
  tf.findBackend('cpu'); // starts it
  return createOperations({ name: 'cpu', registered: 'cpu', kernels: plainKernels });
}

/** The name in TensorFlow.js of what a backend computes with. */
export const registeredName = (backend: BackendName | 'cpu'): string =>
  backend === 'tensorflow-gpu' ? 'tensorflow' : backend;

/** Operations whose tensors are what they are: where TensorFlow.js is the oracle. */
export type TensorFlowOperations = {
  readonly [Name in keyof Operations]: Operations[Name] extends (
    ...parameters: infer Parameters
  ) => infer Result
    ? (...parameters: Parameters) => Result extends Tensor ? tf.Tensor : Result
    : Operations[Name];
};

/** The operations of a backend as {@link TensorFlowOperations}. */
export const tensorFlowOn = async (backend: BackendName | 'cpu'): Promise<TensorFlowOperations> =>
  (await operationsOn(backend)) as Operations & TensorFlowOperations;

/** The kernels of the wasm backend on its memory. */
export async function heapOfWasm(): Promise<Heap> {
  await selectBackend('wasm');
  const backend = tf.findBackend('wasm');
  assert(backend !== null, 'wasm is there');
  return createHeap(backend);
}

/** A tensor of ours as what it is, where TensorFlow.js is the oracle. */
export const asTf = <T extends tf.Tensor = tf.Tensor>(tensor: Tensor): T => tensor as T;

/** Multiplies the weights of a network's head: 0 makes it uniform, a large number sure of itself. */
export async function scaleHead(network: Network, factor: number): Promise<void> {
  const weights = network.variable('head.weights');
  const values = await network.operations.read(weights);
  network.operations.assign(
    weights,
    values.map((value) => value * factor),
  );
}

import * as tf from '@tensorflow/tfjs';
import { type BackendName, selectBackend } from '../../src/compute/backend.js';
import type { Operations, Tensor } from '../../src/compute/operations.js';
import { createOperations } from '../../src/compute/tensorflow-js/operations.js';
import type { Network } from '../../src/models/network.js';

/** The operations of a backend; `cpu` is TensorFlow.js's own, the oracle. */
export async function operationsOn(backend: BackendName | 'cpu'): Promise<Operations> {
  if (backend !== 'cpu') return (await selectBackend(backend)).operations;
  await selectBackend('wasm');
  await tf.setBackend('cpu');
  return createOperations('cpu');
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

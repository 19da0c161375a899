import type { Network } from '../../models/network.js';
import type { NetworkPart } from '../../models/network-definition.js';
import { runNetwork } from '../../models/run-network.js';
import type { CollapsedSample } from './dustbin-row.js';

/**
 * The generalist's answers to batches of examples, collapsed to a subset and one bucket for all other classes.
 *
 * @param batches images (batch, height, width, channels) in [0, 1], or what the parts before `from` make of them,
 * (batch, width); with their shape
 * @param classes the subset, (s)
 * @param from the first part of the network that the batches are inputs of
 * @returns features and log-sum-exps over all batches, in order
 */
export async function collapseGeneralist(
  generalist: Network,
  batches: AsyncIterable<{ readonly inputs: Float32Array; readonly shape: readonly [number, ...number[]] }>,
  classes: readonly number[],
  from: NetworkPart = 'convolutions',
): Promise<CollapsedSample> {
  const parts: { features: Float32Array; inside: Float32Array; outside: Float32Array }[] = [];
  const { operations, definition } = generalist;
  const isOutside = new Float32Array(definition.outputs); // 0 outside the subset, -infinity inside
  for (const label of classes) isOutside[label] = Number.NEGATIVE_INFINITY;
  const mask = operations.tensor(isOutside, [definition.outputs]);
  const subset = operations.tensor(Int32Array.from(classes), [classes.length]);
  for await (const { inputs, shape } of batches) {
    const tensors = operations.tidy(() => {
      const input = operations.tensor(inputs, shape);
      const features = runNetwork(generalist, input, { from, to: 'dense' }); // (batch, features)
      const logits = runNetwork(generalist, features, { from: 'head' }); // (batch, classes)
      const inside = operations.rowLogSumExps(operations.gatherColumns(logits, subset));
      const outside = operations.rowLogSumExps(operations.add(logits, mask));
      return [features, inside, outside];
    });
    const [features, inside, outside] = await Promise.all(tensors.map((tensor) => operations.read(tensor)));
    operations.dispose(tensors);
    parts.push({ features, inside, outside });
  }
  operations.dispose([subset, mask]);
  const joined = (key: 'features' | 'inside' | 'outside') => concatenate(parts.map((part) => part[key]));
  const inside = joined('inside');
  const features = joined('features');
  return { features, width: features.length / inside.length, inside, outside: joined('outside') };
}

function concatenate(arrays: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(arrays.reduce((length, array) => length + array.length, 0));
  let offset = 0;
  for (const array of arrays) {
    all.set(array, offset);
    offset += array.length;
  }
  return all;
}

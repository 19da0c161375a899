import * as tf from '@tensorflow/tfjs';
import type { Activation } from '../operations.js';

/** Rows that are sorted by group, in blocks of one size, each of which belongs to one group. */
export interface RowBlocks {
  /** Rows of a block. */
  readonly size: number;
  /** (blocks), the group of each. */
  readonly groups: Int32Array;
  /** (blocks * size), the row that stands in each place of a block; any row fills up what a group leaves over. */
  readonly sources: Int32Array;
  /** (rows), where each row stands among the blocks. */
  readonly places: Int32Array;
}

/** What it costs to copy a weight into a block's own matrix, where a multiplication and an addition cost 1. */
const copyCost = 8;

/**
 * Cuts sorted rows into blocks of the size that costs least.
 *
 * A large block fills up with rows that nobody wants, a small one has the weights of its group copied more often:
 * `blocks(size) (size + copyCost)` is least among the powers of two and the largest group. Single rows cost
 * `1 + copyCost` times what they must, and nothing costs more.
 *
 * @param counts (groups), the rows of each; at least one row in all
 */
export function rowBlocks(counts: Int32Array): RowBlocks {
  const largest = counts.reduce((most, count) => Math.max(most, count), 0);
  const blocksOf = (size: number) => counts.reduce((sum, count) => sum + Math.ceil(count / size), 0);
  let size = largest;
  let least = blocksOf(largest) * (largest + copyCost);
  for (let candidate = 1; candidate < largest; candidate *= 2) {
    const cost = blocksOf(candidate) * (candidate + copyCost);
    if (cost < least) [size, least] = [candidate, cost];
  }
  const blocks = blocksOf(size);
  const groups = new Int32Array(blocks);
  const sources = new Int32Array(blocks * size);
  const places = new Int32Array(counts.reduce((sum, count) => sum + count, 0));
  let block = 0;
  let row = 0;
  for (const [group, count] of counts.entries()) {
    for (let done = 0; done < count; done += size, block++) {
      groups[block] = group;
      for (let at = block * size; at < block * size + Math.min(size, count - done); at++) {
        sources[at] = row;
        places[row++] = at;
      }
    }
  }
  return { size, groups, sources, places };
}

// What a call of an operation costs beside its computation, in multiplications and additions; and how many calls there
// are, for each group that has rows or in all.
const callCost = 2e5;
const callsOfGroup = 5;
const callsOfBlocks = 10;

/**
 * A layer of several groups: as one product of batches, of blocks of rows with the weights of their groups; or, where the
 * matrices are so large that calls cost less than what fills the blocks up, as a product for each group.
 */
export function groupedDense(
  x: tf.Tensor2D,
  weights: tf.Tensor3D,
  bias: tf.Tensor2D,
  counts: Int32Array,
  activation: Activation,
): tf.Tensor2D {
  const [, inputs, units] = weights.shape;
  const blocks = rowBlocks(counts);
  const present = counts.reduce((sum, count) => sum + Number(count > 0), 0);
  const costOfBlocks =
    callsOfBlocks * callCost + blocks.groups.length * (blocks.size + copyCost) * inputs * units;
  const costOfGroups = callsOfGroup * present * callCost + x.shape[0] * inputs * units;
  return tf.tidy(() => {
    const output =
      costOfGroups < costOfBlocks
        ? groupByGroup(x, weights, bias, counts)
        : blockedProduct(x, weights, bias, blocks);
    return activation === 'relu' ? tf.relu(output) : output;
  });
}

function groupByGroup(
  x: tf.Tensor2D,
  weights: tf.Tensor3D,
  bias: tf.Tensor2D,
  counts: Int32Array,
): tf.Tensor2D {
  const [, inputs, units] = weights.shape;
  const outputs: tf.Tensor2D[] = [];
  let first = 0;
  for (const [group, count] of counts.entries()) {
    if (count === 0) continue;
    const rows = count === x.shape[0] ? x : tf.slice(x, [first, 0], [count, inputs]);
    const own = tf.reshape(tf.slice(weights, [group, 0, 0], [1, inputs, units]), [inputs, units]);
    outputs.push(tf.add(tf.matMul(rows, own), tf.slice(bias, [group, 0], [1, units])));
    first += count;
  }
  return outputs.length === 1 ? (outputs[0] as tf.Tensor2D) : tf.concat(outputs);
}

function blockedProduct(
  x: tf.Tensor2D,
  weights: tf.Tensor3D,
  bias: tf.Tensor2D,
  { size, groups, sources, places }: RowBlocks,
): tf.Tensor2D {
  const [all, inputs, units] = weights.shape;
  const blocks = groups.length;
  const ofBlocks = tf.tensor1d(groups, 'int32');
  const isWhole = blocks === all && groups.every((group, block) => group === block);
  const own = isWhole ? weights : tf.gather(weights, ofBlocks); // (blocks, inputs, units)
  const shift = tf.reshape(isWhole ? bias : tf.gather(bias, ofBlocks), [blocks, 1, units]);
  const isFull = sources.length === places.length; // no block was filled up, and all rows stand in order
  const blocked = isFull ? x : tf.gather(x, tf.tensor1d(sources, 'int32')); // (blocks * size, inputs)
  const product = tf.matMul(tf.reshape(blocked, [blocks, size, inputs]), own); // (blocks, size, units)
  const sums = tf.reshape<tf.Rank.R2>(tf.add(product, shift), [blocks * size, units]);
  return isFull ? sums : tf.gather(sums, tf.tensor1d(places, 'int32')); // (rows, units)
}

import * as tf from '@tensorflow/tfjs';
import { KdSpecError } from '../../core/errors.js';
import type { Kernels } from '../tensorflow-js/kernels.js';
import type { TargetRow } from '../tensorflow-js/target-rows.js';
import type { Gpu, Kernel } from './gpu.js';
import { rowWindows } from './product.js';

/** Stands for a probability that underflowed, where its logarithm is taken. */
const smallestShare = 1e-37;

/** A workgroup takes a row; `fold` leaves the sum, or the largest, of what its 256 threads have in each of them. */
const foldOverRow = `
  var<workgroup> values: array<f32, 256>;
  fn fold(thread: u32, value: f32, isMaximum: bool) -> f32 {
    workgroupBarrier();
    values[thread] = value;
    for (var width = 128u; width > 0u; width = width / 2u) {
      workgroupBarrier();
      if (thread < width) {
        let other = values[thread + width];
        if (isMaximum) { values[thread] = max(values[thread], other); } else { values[thread] += other; }
      }
    }
    workgroupBarrier();
    return values[0];
  }`;

/** The row that a workgroup takes, and where it begins in a window. */
const ownRow = `
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }
  let start = row * p.columns;`;

/** Largest, sum of exp and sum, both less the largest, of the row that begins at `start`; goes with `foldOverRow`. */
const sumsOfRow = `
  var largest = logits[start];
  for (var i = thread; i < p.columns; i += 256u) { largest = max(largest, logits[start + i]); }
  largest = fold(thread, largest, true);
  var total = 0.0;
  var shifted = 0.0;
  for (var i = thread; i < p.columns; i += 256u) {
    let z = logits[start + i] - largest;
    total += exp(z);
    shifted += z;
  }
  total = fold(thread, total, false);
  shifted = fold(thread, shifted, false);`;

/** Largest, sum of exp and sum, both less the largest, of each row; the loss with its label. */
const statistics: Kernel = {
  name: 'softmaxStatistics',
  tensors: { logits: 'read', labels: 'read integers', statistics: 'write' },
  numbers: { rows: 'u32', columns: 'u32', first: 'u32', smoothing: 'f32', nan: 'f32' },
  definitions: foldOverRow,
  body: `${ownRow}
    ${sumsOfRow}
    if (thread == 0u) {
      let example = p.first + row;
      let label = u32(labels[example]);
      // A label that is no class has no loss: training stops at a loss that is no number.
      var hard = p.nan;
      if (label < p.columns) { hard = logits[start + label] - largest; }
      statistics[3u * example] = largest;
      statistics[3u * example + 1u] = total;
      statistics[3u * example + 2u] =
        log(total) - (1.0 - p.smoothing) * hard - p.smoothing * shifted / f32(p.columns);
    }`,
};

const gradient: Kernel = {
  name: 'softmaxGradient',
  tensors: { logits: 'read', labels: 'read integers', statistics: 'read', dy: 'read', result: 'write' },
  numbers: { rows: 'u32', columns: 'u32', first: 'u32', smoothing: 'f32', batch: 'u32' },
  body: `${ownRow}
    let example = p.first + row;
    let largest = statistics[3u * example];
    let inverse = 1.0 / statistics[3u * example + 1u];
    let label = u32(labels[example]);
    let scale = dy[0] / f32(p.batch);
    for (var i = thread; i < p.columns; i += 256u) {
      var value = exp(logits[start + i] - largest) * inverse - p.smoothing / f32(p.columns);
      if (i == label) { value -= 1.0 - p.smoothing; }
      result[start + i] = scale * value;
    }`,
};

/** The mean of every \`stride\`th value, by one workgroup. */
const meanOf: Kernel = {
  name: 'meanOf',
  tensors: { terms: 'read', result: 'write' },
  numbers: { count: 'u32', stride: 'u32', start: 'u32' },
  definitions: foldOverRow,
  body: `
    var sum = 0.0;
    for (var i = thread; i < p.count; i += 256u) { sum += terms[p.start + i * p.stride]; }
    sum = fold(thread, sum, false);
    if (thread == 0u) { result[0] = sum / f32(p.count); }`,
};

/** The cross-entropy with integer labels: no matrix of targets is made. */
export const softmaxCrossEntropyOn =
  (gpu: Gpu): Kernels['softmaxCrossEntropy'] =>
  (logits, labels, smoothing) => {
    const [batch, columns] = logits.shape;
    checkLabels(gpu, labels, columns);
    const loss = tf.customGrad((...parameters) => {
      const [logits, save] = parameters as [tf.Tensor2D, tf.GradSaveFunc];
      const perRow = gpu.allocate([batch, 3]);
      for (const { first, rows, bound } of rowWindows(gpu, logits)) {
        const tensors = { logits: bound, labels, statistics: perRow };
        gpu.run(statistics, tensors, { rows, columns, first, smoothing, nan: Number.NaN }, [rows]);
      }
      const value = gpu.allocate([]);
      gpu.run(meanOf, { terms: perRow, result: value }, { count: batch, stride: 3, start: 2 }, [1]);
      save([logits, labels, perRow]);
      return {
        value,
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
          const [logits, labels, perRow] = saved as [tf.Tensor2D, tf.Tensor1D, tf.Tensor2D];
          const result = gpu.allocate([batch, columns]);
          const targets = rowWindows(gpu, result);
          for (const [index, { first, rows, bound }] of rowWindows(gpu, logits).entries()) {
            const tensors = { logits: bound, labels, statistics: perRow, dy, result: targets[index].bound };
            gpu.run(gradient, tensors, { rows, columns, first, smoothing, batch }, [rows]);
          }
          return result;
        },
      };
    });
    return loss(logits) as tf.Scalar;
  };

/** Refuses labels that are no class, where they have come from the host and not been used before: as a rule. */
function checkLabels(gpu: Gpu, labels: tf.Tensor1D, classes: number): void {
  gpu.onHost(labels)?.forEach((label, row) => {
    if (label >= 0 && label < classes) return;
    throw new KdSpecError(
      'dataset-invalid',
      `expected labels from 0 to ${classes - 1}, got ${label} at row ${row} of the batch: ` +
        'the network must have an output for every class of the data set',
    );
  });
}

/** What a row of targets is to the kernels: 0 to 3 of its numbers, then its entries from one offset to the next. */
const rowNumbers = ['weight', 'rest', 'isBucket', 'unlisted'];

/**
 * The softmax of each row, the entries that its targets list with their sign turned, so that both kernels know them
 * without a search; and for each row its loss and the share of the unlisted classes.
 */
const softTargetLoss: Kernel = {
  name: 'softTargetLoss',
  tensors: {
    ...{ logits: 'read', offsets: 'read integers', indices: 'read integers', masses: 'read', rows: 'read' },
    ...{ shares: 'write', losses: 'write' },
  },
  numbers: { count: 'u32', columns: 'u32', smallest: 'f32' },
  definitions: foldOverRow,
  body: `
    let row = group.y * groups.x + group.x;
    if (row >= p.count) { return; }
    let start = row * p.columns;
    ${sumsOfRow}
    let logTotal = log(total);
    for (var i = thread; i < p.columns; i += 256u) { shares[start + i] = exp(logits[start + i] - largest) / total; }
    storageBarrier();
    workgroupBarrier();
    var loss = 0.0;
    var listed = 0.0;
    for (var k = u32(offsets[row]) + thread; k < u32(offsets[row + 1u]); k += 256u) {
      let at = start + u32(indices[k]);
      let z = logits[at] - largest;
      loss += masses[k] * (logTotal - z);
      listed += z;
      shares[at] = -shares[at] - 1e-38; // below zero also where it underflowed
    }
    loss = fold(thread, loss, false);
    listed = fold(thread, listed, false);
    storageBarrier();
    workgroupBarrier();
    // Added up over the classes that are not listed, since a difference would cancel.
    var open = 0.0;
    for (var i = thread; i < p.columns; i += 256u) { open += max(0.0, shares[start + i]); }
    open = max(p.smallest, fold(thread, open, false));
    if (thread == 0u) {
      let rest = rows[4u * row + 1u];
      if (rest > 0.0 && rows[4u * row + 2u] > 0.0) { loss -= rest * log(open); }
      else if (rest > 0.0) { loss += rest * (logTotal - (shifted - listed) / rows[4u * row + 3u]); }
      losses[2u * row] = rows[4u * row] * loss;
      losses[2u * row + 1u] = open;
    }`,
};

const softTargetGradient: Kernel = {
  name: 'softTargetGradient',
  tensors: {
    ...{ shares: 'read', offsets: 'read integers', indices: 'read integers', masses: 'read', rows: 'read' },
    ...{ losses: 'read', dy: 'read', result: 'write' },
  },
  numbers: { count: 'u32', columns: 'u32' },
  body: `
    let row = group.y * groups.x + group.x;
    if (row >= p.count) { return; }
    let start = row * p.columns;
    let scale = dy[0] / f32(p.count) * rows[4u * row];
    let rest = rows[4u * row + 1u];
    var factor = 1.0;
    var mass = 0.0;
    if (rest > 0.0 && rows[4u * row + 2u] > 0.0) { factor = 1.0 - rest / losses[2u * row + 1u]; }
    else if (rest > 0.0) { mass = rest / rows[4u * row + 3u]; }
    for (var i = thread; i < p.columns; i += 256u) {
      let q = shares[start + i];
      if (q >= 0.0) { result[start + i] = scale * (factor * q - mass); }
    }
    for (var k = u32(offsets[row]) + thread; k < u32(offsets[row + 1u]); k += 256u) {
      let at = start + u32(indices[k]);
      result[at] = scale * (-shares[at] - masses[k]);
    }`,
};

/** The cross-entropy with distributions, which stay sparse. */
export const softTargetCrossEntropyOn =
  (gpu: Gpu): Kernels['softTargetCrossEntropy'] =>
  (logits, targets) => {
    const [count, columns] = logits.shape;
    const lists = listsOf(targets);
    const loss = tf.customGrad((...parameters) => {
      const [logits, save] = parameters as [tf.Tensor2D, tf.GradSaveFunc];
      const shares = gpu.allocate([count, columns]);
      const losses = gpu.allocate([count, 2]);
      const tensors = { logits, ...lists, shares, losses };
      gpu.run(softTargetLoss, tensors, { count, columns, smallest: smallestShare }, [count]);
      const value = gpu.allocate([]);
      gpu.run(meanOf, { terms: losses, result: value }, { count, stride: 2, start: 0 }, [1]);
      save([shares, losses, ...Object.values(lists)]);
      return {
        value,
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
          const [shares, losses, offsets, indices, masses, rows] = saved;
          const result = gpu.allocate([count, columns]);
          const tensors = { shares, offsets, indices, masses, rows, losses, dy, result };
          gpu.run(softTargetGradient, tensors, { count, columns }, [count]);
          return result;
        },
      };
    });
    return loss(logits) as tf.Scalar;
  };

/** Rows of targets one after the other, as the kernels read them; never empty, which no binding may be. */
function listsOf(targets: readonly TargetRow[]) {
  const offsets = new Int32Array(targets.length + 1);
  for (const [row, { indices }] of targets.entries()) offsets[row + 1] = offsets[row] + indices.length;
  const entries = Math.max(1, offsets[targets.length]);
  const indices = new Int32Array(entries);
  const masses = new Float32Array(entries);
  const rows = new Float32Array(targets.length * rowNumbers.length);
  for (const [row, target] of targets.entries()) {
    indices.set(target.indices, offsets[row]);
    masses.set(target.values, offsets[row]);
    rows.set([target.weight, target.rest, Number(target.kind === 'bucket'), target.unlisted], 4 * row);
  }
  return {
    offsets: tf.tensor1d(offsets, 'int32'),
    indices: tf.tensor1d(indices, 'int32'),
    masses: tf.tensor1d(masses),
    rows: tf.tensor1d(rows),
  };
}

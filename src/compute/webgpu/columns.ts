import type * as tf from '@tensorflow/tfjs';
import type { Gpu, Kernel } from './gpu.js';
import { rowWindows } from './product.js';

const rowsOfPart = 64; // that one thread adds up

/** The sums of the columns over some rows, a part for each `rowsOfPart`; a thread takes one column of a part. */
const sums: Kernel = {
  name: 'columnSums',
  tensors: { matrix: 'read', parts: 'write' },
  numbers: { rows: 'u32', columns: 'u32', perPart: 'u32', count: 'u32' },
  body: `
    if (at >= p.count * p.columns) { return; }
    let first = (at / p.columns) * p.perPart;
    let column = at % p.columns;
    var sum = 0.0;
    for (var row = first; row < min(p.rows, first + p.perPart); row++) { sum += matrix[row * p.columns + column]; }
    parts[at] = sum;`,
};

const addUp: Kernel = {
  name: 'addColumnSums',
  tensors: { parts: 'read', result: 'write' },
  numbers: { columns: 'u32', count: 'u32', adds: 'u32' },
  body: `
    if (at >= p.columns) { return; }
    var sum = 0.0;
    if (p.adds == 1u) { sum = result[at]; }
    for (var part = 0u; part < p.count; part++) { sum += parts[part * p.columns + at]; }
    result[at] = sum;`,
};

/** The sums of a matrix's columns, (rows, columns) to (columns). */
export function columnSums(gpu: Gpu, matrix: tf.Tensor): tf.Tensor {
  const columns = matrix.shape.at(-1) ?? 1;
  const result = gpu.allocate([columns]);
  for (const { first, rows, bound } of rowWindows(gpu, matrix)) {
    const count = Math.ceil(rows / rowsOfPart);
    const parts = gpu.allocate([count, columns]);
    const groups = Math.ceil((count * columns) / 256);
    gpu.run(sums, { matrix: bound, parts }, { rows, columns, perPart: rowsOfPart, count }, [groups]);
    const adds = Number(first > 0);
    gpu.run(addUp, { parts, result }, { columns, count, adds }, [Math.ceil(columns / 256)]);
    parts.dispose();
  }
  return result;
}

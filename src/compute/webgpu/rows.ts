import * as tf from '@tensorflow/tfjs';
import { KdSpecError } from '../../core/errors.js';
import type { Kernels } from '../tensorflow-js/kernels.js';
import type { Gpu, Kernel } from './gpu.js';
import { inWindows } from './optimizer-step.js';

const gather: Kernel = {
  name: 'gatherRows',
  tensors: { matrix: 'read', indices: 'read integers', result: 'write' },
  numbers: { columns: 'u32', size: 'u32' },
  body: `
    if (at >= p.size) { return; }
    result[at] = matrix[u32(indices[at / p.columns]) * p.columns + at % p.columns];`,
};

/** Adds rows up where they came from; a thread takes a column, so that sums have one order. */
const scatter: Kernel = {
  name: 'scatterRows',
  tensors: { dy: 'read', indices: 'read integers', result: 'write' },
  numbers: { columns: 'u32', count: 'u32', size: 'u32' },
  body: `
    if (at >= p.columns) { return; }
    for (var i = at; i < p.size; i += p.columns) { result[i] = 0.0; }
    for (var k = 0u; k < p.count; k++) { result[u32(indices[k]) * p.columns + at] += dy[k * p.columns + at]; }`,
};

/** Rows at indices, which are checked where they come from the host. */
export const gatherRowsOn =
  (gpu: Gpu): Kernels['gatherRows'] =>
  (matrix, indices) => {
    const [rows, columns] = matrix.shape;
    gpu.onHost(indices)?.forEach((row, position) => {
      if (row >= 0 && row < rows) return;
      throw new KdSpecError(
        'option-invalid',
        `expected row indices from 0 to ${rows - 1}, got ${row} at position ${position}: check the indices`,
      );
    });
    const take = tf.customGrad((...parameters) => {
      const [matrix, save] = parameters as [tf.Tensor2D, tf.GradSaveFunc];
      const value = gpu.allocate([indices.size, columns]);
      const { size } = value;
      gpu.run(gather, { matrix, indices, result: value }, { columns, size }, [Math.ceil(size / 256)]);
      save([indices]);
      return {
        value,
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
          const [indices] = saved as [tf.Tensor1D];
          const result = gpu.allocate([rows, columns]);
          const numbers = { columns, count: indices.size, size: result.size };
          gpu.run(scatter, { dy, indices, result }, numbers, [Math.ceil(columns / 256)]);
          return result;
        },
      };
    });
    return take(matrix) as tf.Tensor2D;
  };

const threads = 16 * 256; // that look for values together

/** For each thread whether any of its values is not finite, by their bits: compilers may take every number for finite. */
const findInfinite: Kernel = {
  name: 'findInfinite',
  tensors: { values: 'read', found: 'write' },
  numbers: { size: 'u32', keeps: 'u32' },
  body: `
    var worst = 0.0;
    if (p.keeps == 1u) { worst = found[at]; }
    for (var i = at; i < p.size; i += ${threads}u) {
      if ((bitcast<u32>(values[i]) & 0x7f800000u) == 0x7f800000u) { worst = 1.0; }
    }
    found[at] = worst;`,
};

/** Whether all values of all tensors are finite. */
export const areFiniteOn =
  (gpu: Gpu): Kernels['areFinite'] =>
  async (tensors) => {
    if (tensors.length === 0) return true;
    const found = gpu.allocate([threads]);
    let keeps = 0;
    for (const values of tensors) {
      inWindows(gpu, { values }, ({ values }, size) => {
        gpu.run(findInfinite, { values, found }, { size, keeps }, [threads / 256]);
        keeps = 1;
      });
    }
    const flags = await gpu.read(found);
    found.dispose();
    return flags.every((flag) => flag === 0);
  };

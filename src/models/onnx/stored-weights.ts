import { KdSpecError } from '../../core/errors.js';
import { largestHalf, numberToHalf } from '../../math/half.js';
import type { GraphWriter } from './graph-writer.js';

/** How the weights that are written into a file are stored; what is computed from them is float32 in any case. */
export const weightPrecisions = ['fp32', 'fp16', 'int8'] as const;
export type WeightPrecision = (typeof weightPrecisions)[number];

/** Weights of a graph, float32 wherever they are used. */
export interface StoredWeights {
  /** All of them. */
  whole(): string;
  /** Those of some positions on the first axis. */
  rows(ids: string): string;
}

/**
 * Stores weights in a graph.
 *
 * With `int8` a weight is an integer from -127 to 127 times a scale, and each output has a scale of its own, so that the
 * largest weight of each is exact: the error of a weight is at most 1/254 of it.
 *
 * @param values row-major
 * @param shape of two axes or more
 * @param options.outputs the axis of the outputs; with `perRow`, each position of the first axis has scales of its own
 * @throws KdSpecError `option-invalid` for weights that `fp16` has no number for
 */
export function storeWeights(
  graph: GraphWriter,
  values: Float32Array,
  shape: readonly number[],
  precision: WeightPrecision,
  { outputs, perRow = false }: { readonly outputs: number; readonly perRow?: boolean },
): StoredWeights {
  if (precision === 'fp32') {
    const name = graph.floats(values, shape);
    return { whole: () => name, rows: (ids) => graph.gather(name, ids, 0) };
  }
  if (precision === 'fp16') {
    // They would become infinite, and predictions of them no numbers.
    if (values.some((value) => Math.abs(value) > largestHalf)) {
      throw new KdSpecError(
        'option-invalid',
        `some weights are beyond ${largestHalf}, the largest number of fp16: store them in fp32 (--weights fp32)`,
      );
    }
    const name = graph.halves(Uint16Array.from(values, numberToHalf), shape);
    return {
      whole: () => graph.castTo(name, 'float32'),
      rows: (ids) => graph.castTo(graph.gather(name, ids, 0), 'float32'),
    };
  }
  const { integers, scales, scaleShape } = quantised(values, shape, outputs, perRow);
  const name = graph.bytes(integers, shape);
  const scale = graph.floats(scales, scaleShape);
  return {
    whole: () => graph.mul(graph.castTo(name, 'float32'), scale),
    rows: (ids) =>
      graph.mul(
        graph.castTo(graph.gather(name, ids, 0), 'float32'),
        perRow ? graph.gather(scale, ids, 0) : scale,
      ),
  };
}

function quantised(values: Float32Array, shape: readonly number[], outputs: number, perRow: boolean) {
  const scaleShape = shape.map((extent, axis) => (axis === outputs || (perRow && axis === 0) ? extent : 1));
  const inner = shape.slice(outputs + 1).reduce((all, extent) => all * extent, 1);
  const row = values.length / shape[0];
  const groupOf = (at: number) => {
    const output = Math.floor(at / inner) % shape[outputs];
    return perRow && outputs > 0 ? Math.floor(at / row) * shape[outputs] + output : output;
  };
  const scales = new Float32Array(scaleShape.reduce((all, extent) => all * extent, 1));
  for (let at = 0; at < values.length; at++) {
    const group = groupOf(at);
    scales[group] = Math.max(scales[group], Math.abs(values[at]) / 127);
  }
  const integers = Int8Array.from(values, (value, at) => {
    const scale = scales[groupOf(at)];
    return scale === 0 ? 0 : Math.max(-127, Math.min(127, Math.round(value / scale)));
  });
  return { integers, scales, scaleShape };
}

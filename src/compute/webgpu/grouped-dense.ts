import * as tf from '@tensorflow/tfjs';
import type { Kernels } from '../tensorflow-js/kernels.js';
import type { Gpu, Kernel } from './gpu.js';
import {
  commonRowWindows,
  forEachHeight,
  type RowWindow,
  rowWindows,
  type TileRows,
  tileColumns,
  tileOf,
  tileRowsFor,
} from './product.js';

// A layer of several groups is one dispatch, however many groups there are: a list tells each workgroup which rows its
// tile has, and where their weights lie. What one binding does not reach is worked on in windows, a dispatch for each.

/**
 * A tile of the list: its rows and the inputs to sum over, both up to an end, and the row of the weights that the first of
 * these inputs multiplies. Rows count within a window.
 */
const fieldsOfTile = ['row', 'rowEnd', 'group', 'input', 'inputEnd', 'weightsRow'] as const;
type Tile = Readonly<Record<(typeof fieldsOfTile)[number], number>>;

/** Tiles of so many rows, where bindings reach the windows that the list is about. */
function kernelOf(rows: TileRows): Kernel {
  const made = tileOf(rows, {
    left: 'return x[row * p.inputs + k];',
    leftAlong: 'depth',
    right: 'return weights[(own.weightsRow + k - own.input) * p.columns + column];',
    rightAlong: 'columns',
  });
  const fields = fieldsOfTile.map((_, at) => `u32(tiles[${fieldsOfTile.length}u * index + ${at}u])`);
  return {
    name: `groupedDense${rows}`,
    tensors: { x: 'read', weights: 'read', bias: 'read', tiles: 'read integers', result: 'write' },
    numbers: { count: 'u32', columns: 'u32', columnTiles: 'u32', inputs: 'u32', rectifies: 'u32' },
    workgroup: made.workgroup,
    definitions: `
      struct Tile { ${fieldsOfTile.map((field) => `${field}: u32,`).join(' ')} };
      var<private> own: Tile;
      ${made.definitions}
      // By its bits, since compilers may take every value for a number: what is none must stay so.
      fn rectified(value: f32) -> f32 {
        let bits = bitcast<u32>(value);
        return select(value, 0.0, bits >= 0x80000000u && bits <= 0xff800000u);
      }
      fn store(row: u32, column: u32, values: vec4f) {
        if (row >= own.rowEnd) { return; }
        for (var i = 0u; i < 4u && column + i < p.columns; i++) {
          let place = row * p.columns + column + i;
          var value = values[i];
          if (own.input == 0u) { value += bias[own.group * p.columns + column + i]; } else { value += result[place]; }
          if (own.inputEnd == p.inputs && p.rectifies == 1u) { value = rectified(value); }
          result[place] = value;
        }
      }`,
    body: `
      let number = group.y * groups.x + group.x;
      let index = number / p.columnTiles;
      if (index >= p.count) { return; }
      let tile = Tile(${fields.join(', ')});
      own = tile;
      let row0 = tile.row;
      let rowEnd = tile.rowEnd;
      let column0 = ${tileColumns}u * (number % p.columnTiles);
      let k0 = tile.input;
      let kEnd = tile.inputEnd;
      ${made.code}`,
  };
}

const kernels = forEachHeight(kernelOf);

/** A layer of several groups, in one dispatch where bindings reach its tensors. */
export const groupedDenseOn =
  (gpu: Gpu): Kernels['groupedDense'] =>
  (x, weights, bias, counts, activation) => {
    const [rows, inputs] = x.shape;
    const columns = weights.shape[2];
    const output = gpu.allocate([rows, columns]) as tf.Tensor2D;
    const height = tileRowsFor(counts);
    const columnTiles = Math.ceil(columns / tileColumns);
    const rectifies = Number(activation === 'relu');
    for (const [examples, target] of commonRowWindows(gpu, x, output)) {
      for (const own of rowWindows(gpu, weights)) {
        const list = tilesOf(counts, { inputs, height, examples, weights: own });
        if (list.length === 0) continue;
        const values = list.flatMap((tile) => fieldsOfTile.map((field) => tile[field]));
        const tiles = tf.tensor1d(Int32Array.from(values), 'int32');
        const numbers = { count: list.length, columns, columnTiles, inputs, rectifies };
        const tensors = { x: examples.bound, weights: own.bound, bias, tiles, result: target.bound };
        gpu.run(kernels[height], tensors, numbers, [list.length * columnTiles]);
        tiles.dispose();
      }
    }
    return output;
  };

/** The tiles of the groups that have rows in one window and weights, all or some, in the other. */
function tilesOf(
  counts: Int32Array,
  {
    inputs,
    height,
    examples,
    weights,
  }: {
    readonly inputs: number;
    readonly height: number;
    readonly examples: RowWindow;
    /** Of the weights as a matrix (groups * inputs, units). */
    readonly weights: RowWindow;
  },
): readonly Tile[] {
  const tiles: Tile[] = [];
  let first = -examples.first; // of a group's rows, in the window
  for (const [group, count] of counts.entries()) {
    const [from, to] = [Math.max(0, first), Math.min(examples.rows, first + count)];
    const before = weights.first - group * inputs; // of the group's inputs, whose weights lie before the window
    const [input, inputEnd] = [Math.max(0, before), Math.min(inputs, before + weights.rows)];
    first += count;
    if (input >= inputEnd) continue;
    for (let row = from; row < to; row += height) {
      const rowEnd = Math.min(to, row + height);
      tiles.push({ row, rowEnd, group, input, inputEnd, weightsRow: input - before });
    }
  }
  return tiles;
}

import {
  type Code,
  i32,
  kernel,
  type Lane,
  type Local,
  loadSpread,
  loop,
  scalar,
  set,
  vector,
} from './assembler.js';

// A tile of the result, in rows and in vectors of a row, whose sums stay in registers: a few rows share what is loaded
// of the matrix, a single one has more columns instead.
interface Tile {
  readonly rows: number;
  readonly vectors: number;
}
const tall: Tile = { rows: 4, vectors: 2 };
const flat: Tile = { rows: 1, vectors: 8 };

/**
 * `output[r, j] = max(bias[j] + sum over i of x[r, i] weights[i, j], lowest)` for few rows: nothing is copied into panels
 * first, as `multiplyPacked` needs it, which pays only when a matrix is used for many rows. Strides are in bytes.
 */
export const denseRows = kernel(
  'denseRows',
  {
    x: 'i32',
    rows: 'i32',
    xStride: 'i32',
    weights: 'i32',
    stride: 'i32',
    bias: 'i32',
    lowest: 'f32',
    output: 'i32',
  },
  ({ parameters: p, local }) => {
    const locals = Array.from({ length: 7 }, () => local('i32'));
    const [row, column, input, from, to, left, right] = locals as [
      Local,
      Local,
      Local,
      Local,
      Local,
      Local,
      Local,
    ];
    const spares: Record<Lane['type'], Local[]> = { v128: [], f32: [], i32: [] };
    /** Some locals of a type, the same ones for every tile. */
    const take = (type: Lane['type'], count: number): Local[] => {
      while (spares[type].length < count) spares[type].push(local(type));
      return spares[type].slice(0, count);
    };
    const down = (base: Local, stride: Local, rows: number): Code =>
      rows === 0 ? base.get : i32.add(base.get, i32.mul(stride.get, i32.constant(rows)));

    /** The columns from `column` on, `vectors` lanes of them, of the rows from `from` on. */
    const tile = (rows: number, lane: Lane, vectors: number): readonly Code[] => {
      const locals = take(lane.type, rows * vectors + vectors + 1);
      const factor = locals[0] as Local;
      const quads = locals.slice(1, 1 + vectors);
      const sums = Array.from({ length: rows }, (_, r) =>
        locals.slice(1 + vectors * (r + 1), 1 + vectors * (r + 2)),
      );
      const load = lane === vector ? loadSpread : scalar.load;
      const each = (write: (sum: Local, r: number, v: number) => Code): Code[] =>
        sums.flatMap((line, r) => line.map((sum, v) => write(sum, r, v)));
      return [
        ...each((sum, _, v) => set(sum, lane.load(i32.add(p.bias.get, column.get), lane.bytes * v))),
        set(left, from.get),
        set(right, i32.add(p.weights.get, column.get)),
        loop(input, i32.constant(0), p.xStride.get, i32.constant(4), [
          ...quads.map((quad, v) => set(quad, lane.load(right.get, lane.bytes * v))),
          ...sums.flatMap((line, r) => [
            set(factor, load(down(left, p.xStride, r))),
            ...line.map((sum, v) =>
              set(sum, lane.add(sum.get, lane.mul(factor.get, (quads[v] as Local).get))),
            ),
          ]),
          set(left, i32.add(left.get, i32.constant(4))),
          set(right, i32.add(right.get, p.stride.get)),
        ]),
        ...each((sum, r, v) =>
          lane.store(
            i32.add(down(to, p.stride, r), column.get),
            lane.max(lane.spread(p.lowest.get), sum.get),
            lane.bytes * v,
          ),
        ),
        set(from, down(from, p.xStride, rows)),
        set(to, down(to, p.stride, rows)),
      ];
    };
    // Columns outside, rows inside: the columns of the matrix are in the cache for every row but the first.
    const overRows = (first: Code, end: Code, { rows, vectors }: Tile): readonly Code[] => {
      const widths = [16 * vectors, 16, 4];
      const upTo = (width: number): Code => i32.and(p.stride.get, i32.constant(-width));
      return widths.map((width, index) =>
        loop(
          column,
          index === 0 ? i32.constant(0) : upTo(widths[index - 1] as number),
          upTo(width),
          i32.constant(width),
          [
            set(from, i32.add(p.x.get, i32.mul(p.xStride.get, first))),
            set(to, i32.add(p.output.get, i32.mul(p.stride.get, first))),
            loop(
              row,
              first,
              end,
              i32.constant(rows),
              width === 4 ? tile(rows, scalar, 1) : tile(rows, vector, width / 16),
            ),
          ],
        ),
      );
    };
    const whole = i32.and(p.rows.get, i32.constant(-tall.rows));
    return [...overRows(i32.constant(0), whole, tall), ...overRows(whole, p.rows.get, flat)];
  },
);

import { type Code, i32, kernel, type Lane, type Local, loop, overLanes, set } from './assembler.js';

// Kernels over a matrix of (rows, columns) with one value a column: batch normalisation, sums over a batch.
// `stride` is the length of a row in bytes. Sums are added to what the output already holds.

const at = (base: Local, offset: Local): Code => i32.add(base.get, offset.get);

/** Four rows at a time, for fewer passes over the sums and smaller rounding errors, then one at a time. */
function overRows(
  row: Local,
  rows: Local,
  advance: (count: number) => Code,
  body: (count: number) => readonly Code[],
): readonly Code[] {
  const whole = i32.and(rows.get, i32.constant(-4));
  return [
    loop(row, i32.constant(0), whole, i32.constant(4), [...body(4), advance(4)]),
    loop(row, whole, rows.get, i32.constant(1), [...body(1), advance(1)]),
  ];
}

function sum(lane: Lane, terms: readonly Code[]): Code {
  return terms.reduce((left, right) => lane.add(left, right));
}

/** `sums[c] += sum over rows of x[r, c]`. */
export const columnSums = kernel(
  'columnSums',
  { x: 'i32', rows: 'i32', stride: 'i32', sums: 'i32' },
  ({ parameters: { x, rows, stride, sums }, local }) => {
    const row = local('i32');
    const offset = local('i32');
    return overRows(
      row,
      rows,
      (count) => set(x, rowsOn(x, stride, count)),
      (count) => [
        overLanes(offset, stride.get, (lane) => {
          const terms = Array.from({ length: count }, (_, index) =>
            lane.load(i32.add(rowsOn(x, stride, index), offset.get)),
          );
          return [lane.store(at(sums, offset), lane.add(lane.load(at(sums, offset)), sum(lane, terms)))];
        }),
      ],
    );
  },
);

/** The address `count` rows on. */
function rowsOn(base: Local, stride: Local, count: number): Code {
  return i32.add(base.get, i32.mul(stride.get, i32.constant(count)));
}

/** `sums[c] += sum over rows of (x[r, c] - mean[c])²`. */
export const columnSquares = kernel(
  'columnSquares',
  { x: 'i32', mean: 'i32', rows: 'i32', stride: 'i32', sums: 'i32' },
  ({ parameters: { x, mean, rows, stride, sums }, local }) => {
    const row = local('i32');
    const offset = local('i32');
    return overRows(
      row,
      rows,
      (count) => set(x, rowsOn(x, stride, count)),
      (count) => [
        overLanes(offset, stride.get, (lane) => {
          const centre = local(lane.type);
          const differences = Array.from({ length: count }, () => local(lane.type));
          return [
            set(centre, lane.load(at(mean, offset))),
            ...differences.map((difference, index) =>
              set(difference, lane.sub(lane.load(i32.add(rowsOn(x, stride, index), offset.get)), centre.get)),
            ),
            lane.store(
              at(sums, offset),
              lane.add(
                lane.load(at(sums, offset)),
                sum(
                  lane,
                  differences.map((difference) => lane.mul(difference.get, difference.get)),
                ),
              ),
            ),
          ];
        }),
      ],
    );
  },
);

/** `output[r, c] = x[r, c] scale[c] + shift[c]`. */
export const scaleColumns = kernel(
  'scaleColumns',
  { x: 'i32', scale: 'i32', shift: 'i32', rows: 'i32', stride: 'i32', output: 'i32' },
  ({ parameters: { x, scale, shift, rows, stride, output }, local }) => {
    const row = local('i32');
    const offset = local('i32');
    return [
      loop(row, i32.constant(0), rows.get, i32.constant(1), [
        overLanes(offset, stride.get, (lane) => [
          lane.store(
            at(output, offset),
            lane.add(
              lane.mul(lane.load(at(x, offset)), lane.load(at(scale, offset))),
              lane.load(at(shift, offset)),
            ),
          ),
        ]),
        set(x, rowsOn(x, stride, 1)),
        set(output, rowsOn(output, stride, 1)),
      ]),
    ];
  },
);

/** `sums[c] += sum over rows of dy[r, c]`; `products[c] += sum over rows of dy[r, c] (x[r, c] - mean[c])`. */
export const columnGradientSums = kernel(
  'columnGradientSums',
  { x: 'i32', dy: 'i32', mean: 'i32', rows: 'i32', stride: 'i32', sums: 'i32', products: 'i32' },
  ({ parameters: { x, dy, mean, rows, stride, sums, products }, local }) => {
    const row = local('i32');
    const offset = local('i32');
    return overRows(
      row,
      rows,
      (count) => [...set(x, rowsOn(x, stride, count)), ...set(dy, rowsOn(dy, stride, count))],
      (count) => [
        overLanes(offset, stride.get, (lane) => {
          const centre = local(lane.type);
          const upstream = Array.from({ length: count }, () => local(lane.type));
          const centred = (index: number): Code =>
            lane.sub(lane.load(i32.add(rowsOn(x, stride, index), offset.get)), centre.get);
          return [
            set(centre, lane.load(at(mean, offset))),
            ...upstream.map((value, index) =>
              set(value, lane.load(i32.add(rowsOn(dy, stride, index), offset.get))),
            ),
            lane.store(
              at(sums, offset),
              lane.add(
                lane.load(at(sums, offset)),
                sum(
                  lane,
                  upstream.map((value) => value.get),
                ),
              ),
            ),
            lane.store(
              at(products, offset),
              lane.add(
                lane.load(at(products, offset)),
                sum(
                  lane,
                  upstream.map((value, index) => lane.mul(value.get, centred(index))),
                ),
              ),
            ),
          ];
        }),
      ],
    );
  },
);

/** `output[r, c] = dy[r, c] a[c] + x[r, c] b[c] + d[c]`. */
export const mixColumns = kernel(
  'mixColumns',
  { x: 'i32', dy: 'i32', a: 'i32', b: 'i32', d: 'i32', rows: 'i32', stride: 'i32', output: 'i32' },
  ({ parameters: { x, dy, a, b, d, rows, stride, output }, local }) => {
    const row = local('i32');
    const offset = local('i32');
    return [
      loop(row, i32.constant(0), rows.get, i32.constant(1), [
        overLanes(offset, stride.get, (lane) => [
          lane.store(
            at(output, offset),
            lane.add(
              lane.add(
                lane.mul(lane.load(at(dy, offset)), lane.load(at(a, offset))),
                lane.mul(lane.load(at(x, offset)), lane.load(at(b, offset))),
              ),
              lane.load(at(d, offset)),
            ),
          ),
        ]),
        set(x, rowsOn(x, stride, 1)),
        set(dy, rowsOn(dy, stride, 1)),
        set(output, rowsOn(output, stride, 1)),
      ]),
    ];
  },
);

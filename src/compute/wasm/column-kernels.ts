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

/** `output[r, c] = max(lowest, x[r, c] scale[c] + shift[c])`: with a ReLU where `lowest` is 0, without at -infinity. */
export const scaleColumns = kernel(
  'scaleColumns',
  { x: 'i32', scale: 'i32', shift: 'i32', rows: 'i32', stride: 'i32', lowest: 'f32', output: 'i32' },
  ({ parameters: { x, scale, shift, rows, stride, lowest, output }, local }) => {
    const row = local('i32');
    const offset = local('i32');
    return [
      loop(row, i32.constant(0), rows.get, i32.constant(1), [
        overLanes(offset, stride.get, (lane) => [
          lane.store(
            at(output, offset),
            lane.max(
              lane.spread(lowest.get),
              scaled(lane, at(x, offset), at(scale, offset), at(shift, offset)),
            ),
          ),
        ]),
        set(x, rowsOn(x, stride, 1)),
        set(output, rowsOn(output, stride, 1)),
      ]),
    ];
  },
);

function scaled(lane: Lane, x: Code, scale: Code, shift: Code): Code {
  return lane.add(lane.mul(lane.load(x), lane.load(scale)), lane.load(shift));
}

// In the two kernels below the gradient `dy` counts as 0 where `scaleColumns` gave `lowest` or less.

/** `sums[c] += sum over rows of dy[r, c]`; `products[c] += sum over rows of dy[r, c] (x[r, c] - mean[c])`. */
export const columnGradientSums = kernel(
  'columnGradientSums',
  {
    x: 'i32',
    dy: 'i32',
    mean: 'i32',
    scale: 'i32',
    shift: 'i32',
    rows: 'i32',
    stride: 'i32',
    lowest: 'f32',
    sums: 'i32',
    products: 'i32',
  },
  ({ parameters: { x, dy, mean, scale, shift, rows, stride, lowest, sums, products }, local }) => {
    const row = local('i32');
    const offset = local('i32');
    return overRows(
      row,
      rows,
      (count) => [...set(x, rowsOn(x, stride, count)), ...set(dy, rowsOn(dy, stride, count))],
      (count) => [
        overLanes(offset, stride.get, (lane) => {
          const centre = local(lane.type);
          const value = local(lane.type);
          const upstream = local(lane.type);
          const [sum, product, factor, addend] = [sums, products, scale, shift].map(() =>
            local(lane.type),
          ) as [Local, Local, Local, Local];
          const line = (index: number): readonly Code[] => [
            set(value, lane.load(i32.add(rowsOn(x, stride, index), offset.get))),
            set(
              upstream,
              lane.keepWhere(
                lane.less(lane.spread(lowest.get), lane.add(lane.mul(value.get, factor.get), addend.get)),
                lane.load(i32.add(rowsOn(dy, stride, index), offset.get)),
              ),
            ),
            set(sum, lane.add(sum.get, upstream.get)),
            set(product, lane.add(product.get, lane.mul(upstream.get, lane.sub(value.get, centre.get)))),
          ];
          return [
            set(centre, lane.load(at(mean, offset))),
            set(factor, lane.load(at(scale, offset))),
            set(addend, lane.load(at(shift, offset))),
            set(sum, lane.constant(0)),
            set(product, lane.constant(0)),
            ...Array.from({ length: count }, (_, index) => line(index)).flat(),
            lane.store(at(sums, offset), lane.add(lane.load(at(sums, offset)), sum.get)),
            lane.store(at(products, offset), lane.add(lane.load(at(products, offset)), product.get)),
          ];
        }),
      ],
    );
  },
);

/** `output[r, c] = dy[r, c] a[c] + x[r, c] b[c] + d[c]`. */
export const mixColumns = kernel(
  'mixColumns',
  {
    x: 'i32',
    dy: 'i32',
    scale: 'i32',
    shift: 'i32',
    a: 'i32',
    b: 'i32',
    d: 'i32',
    rows: 'i32',
    stride: 'i32',
    lowest: 'f32',
    output: 'i32',
  },
  ({ parameters: { x, dy, scale, shift, a, b, d, rows, stride, lowest, output }, local }) => {
    const row = local('i32');
    const offset = local('i32');
    return [
      loop(row, i32.constant(0), rows.get, i32.constant(1), [
        overLanes(offset, stride.get, (lane) => {
          const value = local(lane.type);
          const hasPassed = lane.less(
            lane.spread(lowest.get),
            lane.add(lane.mul(value.get, lane.load(at(scale, offset))), lane.load(at(shift, offset))),
          );
          const upstream = lane.keepWhere(hasPassed, lane.load(at(dy, offset)));
          return [
            set(value, lane.load(at(x, offset))),
            lane.store(
              at(output, offset),
              lane.add(
                lane.add(
                  lane.mul(upstream, lane.load(at(a, offset))),
                  lane.mul(value.get, lane.load(at(b, offset))),
                ),
                lane.load(at(d, offset)),
              ),
            ),
          ];
        }),
        set(x, rowsOn(x, stride, 1)),
        set(dy, rowsOn(dy, stride, 1)),
        set(output, rowsOn(output, stride, 1)),
      ]),
    ];
  },
);

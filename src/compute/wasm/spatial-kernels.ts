import {
  type Code,
  i32,
  type Kernel,
  kernel,
  type Lane,
  type Local,
  loop,
  overLanes,
  set,
  vector,
  when,
} from './assembler.js';
import { opcode } from './opcodes.js';

const smaller = (a: Code, b: Code): Code => [...a, ...b, ...i32.less(a, b), ...opcode.select];
const notNegative = (a: Code): Code => [
  ...a,
  ...i32.constant(0),
  ...i32.less(i32.constant(0), a),
  ...opcode.select,
];

/**
 * Max pooling of one image: for each window the largest value, channel by channel.
 * `x` is (height, width, channels), `output` (outputHeight, outputWidth, channels), `pixel` the bytes of all
 * channels.
 * With `dy` not 0 it computes the gradient instead: adds `dy` to `output`, which then has the shape of x, where
 * the first largest value of the window lies.
 */
export const maxPool = kernel(
  'maxPool',
  {
    x: 'i32',
    dy: 'i32',
    output: 'i32',
    height: 'i32',
    width: 'i32',
    pixel: 'i32',
    outputHeight: 'i32',
    outputWidth: 'i32',
    size: 'i32',
    strides: 'i32',
    top: 'i32',
    left: 'i32',
  },
  ({ parameters: p, local }) => {
    const row = local('i32');
    const column = local('i32');
    const y = local('i32');
    const x = local('i32');
    const firstY = local('i32');
    const firstX = local('i32');
    const bottom = local('i32');
    const right = local('i32');
    const offset = local('i32');
    const place = local('i32');
    const window = (body: readonly Code[]): Code =>
      loop(y, firstY.get, bottom.get, i32.constant(1), [
        loop(x, firstX.get, right.get, i32.constant(1), [
          set(place, i32.add(i32.mul(i32.add(i32.mul(y.get, p.width.get), x.get), p.pixel.get), offset.get)),
          ...body,
        ]),
      ]);
    return [
      loop(row, i32.constant(0), p.outputHeight.get, i32.constant(1), [
        loop(column, i32.constant(0), p.outputWidth.get, i32.constant(1), [
          set(firstY, i32.sub(i32.mul(row.get, p.strides.get), p.top.get)),
          set(firstX, i32.sub(i32.mul(column.get, p.strides.get), p.left.get)),
          set(bottom, smaller(i32.add(firstY.get, p.size.get), p.height.get)),
          set(right, smaller(i32.add(firstX.get, p.size.get), p.width.get)),
          set(firstY, notNegative(firstY.get)),
          set(firstX, notNegative(firstX.get)),
          overLanes(offset, p.pixel.get, (lane) => {
            const best = local(lane.type);
            const upstream = local(lane.type);
            const taken = local(lane.maskType);
            const hit = local(lane.maskType);
            const value = lane.load(i32.add(p.x.get, place.get));
            const target = i32.add(p.output.get, place.get);
            return [
              set(best, lane.constant(Number.NEGATIVE_INFINITY)),
              window([set(best, lane.max(best.get, value))]),
              when(i32.isZero(p.dy.get), [lane.store(i32.add(p.output.get, offset.get), best.get)]),
              when(p.dy.get, [
                set(upstream, lane.load(i32.add(p.dy.get, offset.get))),
                set(taken, lane.noMask),
                window([
                  set(hit, lane.maskAndNot(lane.equal(value, best.get), taken.get)),
                  set(taken, lane.maskOr(taken.get, hit.get)),
                  lane.store(target, lane.add(lane.load(target), lane.keepWhere(hit.get, upstream.get))),
                ]),
              ]),
            ];
          }),
          when(i32.isZero(p.dy.get), [set(p.output, i32.add(p.output.get, p.pixel.get))]),
          when(p.dy.get, [set(p.dy, i32.add(p.dy.get, p.pixel.get))]),
        ]),
      ]),
    ];
  },
);

/**
 * Max pooling of a whole batch by windows of 2 × 2 that do not overlap, as most networks have it: `maxPool`, but the
 * four pixels of a window are read at once, and the gradient overwrites what the windows cover.
 */
export const maxPoolPairs = kernel(
  'maxPoolPairs',
  {
    x: 'i32',
    dy: 'i32',
    output: 'i32',
    images: 'i32',
    height: 'i32',
    width: 'i32',
    pixel: 'i32',
    outputHeight: 'i32',
    outputWidth: 'i32',
  },
  ({ parameters: p, local }) => {
    const image = local('i32');
    const row = local('i32');
    const column = local('i32');
    const offset = local('i32');
    const line = local('i32');
    const source = local('i32');
    const distance = local('i32'); // from a pixel of x to that of the gradient
    const places = (corner: Code): readonly Code[] => [
      corner,
      i32.add(corner, p.pixel.get),
      i32.add(corner, line.get),
      i32.add(i32.add(corner, line.get), p.pixel.get),
    ];
    const next = (address: Local, bytes: Code): Code => set(address, i32.add(address.get, bytes));
    const windows = (
      body: (lane: Lane, values: readonly Local[], largest: Local) => Code[],
      after: Code,
    ): Code =>
      loop(image, i32.constant(0), p.images.get, i32.constant(1), [
        loop(row, i32.constant(0), p.outputHeight.get, i32.constant(1), [
          set(source, i32.add(p.x.get, i32.mul(i32.shl(row.get, i32.constant(1)), line.get))),
          loop(column, i32.constant(0), p.outputWidth.get, i32.constant(1), [
            overLanes(offset, p.pixel.get, (lane) => {
              const corner = i32.add(source.get, offset.get);
              const values = places(corner).map(() => local(lane.type));
              const largest = local(lane.type);
              return [
                ...places(corner).map((place, i) => set(values[i] as Local, lane.load(place))),
                set(
                  largest,
                  values.map((value) => value.get).reduce((best, value) => lane.max(best, value)),
                ),
                ...body(lane, values, largest),
              ];
            }),
            after,
            next(source, i32.shl(p.pixel.get, i32.constant(1))),
          ]),
        ]),
        next(p.x, i32.mul(p.height.get, line.get)),
      ]);
    return [
      set(line, i32.mul(p.width.get, p.pixel.get)),
      when(i32.isZero(p.dy.get), [
        windows(
          (lane, _, largest) => [lane.store(i32.add(p.output.get, offset.get), largest.get)],
          next(p.output, p.pixel.get),
        ),
      ]),
      when(p.dy.get, [
        set(distance, i32.sub(p.output.get, p.x.get)),
        windows(
          (lane, values, largest) => {
            const upstream = local(lane.type);
            const taken = local(lane.maskType);
            const hit = local(lane.maskType);
            const corner = i32.add(i32.add(source.get, distance.get), offset.get);
            return [
              set(upstream, lane.load(i32.add(p.dy.get, offset.get))),
              set(taken, lane.noMask),
              ...places(corner).flatMap((place, i) => [
                set(hit, lane.maskAndNot(lane.equal((values[i] as Local).get, largest.get), taken.get)),
                set(taken, lane.maskOr(taken.get, hit.get)),
                lane.store(place, lane.keepWhere(hit.get, upstream.get)),
              ]),
            ];
          },
          next(p.dy, p.pixel.get),
        ),
      ]),
    ];
  },
);

/**
 * Copies the windows of one image into the rows of a matrix (`unfold`), or adds each row of such a matrix to its
 * window of the image (`fold`). `image` is (height, width, channels); `patches` is
 * (outputHeight outputWidth, filterHeight filterWidth channels), zero where a window leaves the image. `unfold` reads and writes up to 12 bytes
 * beyond either's end.
 */
function windows(name: 'unfold' | 'fold'): Kernel {
  return kernel(
    name,
    {
      image: 'i32',
      patches: 'i32',
      height: 'i32',
      width: 'i32',
      pixel: 'i32',
      outputHeight: 'i32',
      outputWidth: 'i32',
      filterHeight: 'i32',
      filterWidth: 'i32',
      strides: 'i32',
      top: 'i32',
      left: 'i32',
    },
    ({ parameters: p, local }) => {
      const row = local('i32');
      const column = local('i32');
      const line = local('i32');
      const y = local('i32');
      const firstX = local('i32');
      const offset = local('i32');
      const inside = local('i32');
      const before = local('i32');
      const whole = local('i32');
      const source = local('i32');
      // Rows are written in order, so that the next store overwrites what one of 16 bytes writes too much.
      const byVectors = (bytes: Code, body: readonly Code[]): Code =>
        loop(offset, i32.constant(0), bytes, i32.constant(16), body);
      const zero = (bytes: Code): readonly Code[] => [
        byVectors(bytes, [vector.store(i32.add(p.patches.get, offset.get), vector.constant(0))]),
        set(p.patches, i32.add(p.patches.get, bytes)),
      ];
      const skip = (bytes: Code): readonly Code[] => [set(p.patches, i32.add(p.patches.get, bytes))];
      const pass = name === 'unfold' ? zero : skip;
      const outside = i32.isZero(i32.lessUnsigned(y.get, p.height.get));
      return [
        loop(row, i32.constant(0), p.outputHeight.get, i32.constant(1), [
          loop(column, i32.constant(0), p.outputWidth.get, i32.constant(1), [
            set(firstX, i32.sub(i32.mul(column.get, p.strides.get), p.left.get)),
            // A line of the window in bytes: `before` the image, `inside` it, and the rest of the `whole`.
            set(whole, i32.mul(p.filterWidth.get, p.pixel.get)),
            set(before, i32.mul(notNegative(i32.sub(i32.constant(0), firstX.get)), p.pixel.get)),
            set(before, smaller(before.get, whole.get)),
            set(
              inside,
              i32.sub(
                smaller(whole.get, i32.mul(notNegative(i32.sub(p.width.get, firstX.get)), p.pixel.get)),
                before.get,
              ),
            ),
            set(inside, notNegative(inside.get)),
            loop(line, i32.constant(0), p.filterHeight.get, i32.constant(1), [
              set(y, i32.add(i32.sub(i32.mul(row.get, p.strides.get), p.top.get), line.get)),
              when(outside, pass(whole.get)),
              when(i32.isZero(outside), [
                ...pass(before.get),
                set(
                  source,
                  i32.add(
                    i32.add(p.image.get, before.get),
                    i32.mul(i32.add(i32.mul(y.get, p.width.get), firstX.get), p.pixel.get),
                  ),
                ),
                name === 'unfold'
                  ? byVectors(inside.get, [
                      vector.store(
                        i32.add(p.patches.get, offset.get),
                        vector.load(i32.add(source.get, offset.get)),
                      ),
                    ])
                  : overLanes(offset, inside.get, (lane) => {
                      const place = i32.add(source.get, offset.get);
                      const patch = lane.load(i32.add(p.patches.get, offset.get));
                      return [lane.store(place, lane.add(lane.load(place), patch))];
                    }),
                set(p.patches, i32.add(p.patches.get, inside.get)),
                ...pass(i32.sub(i32.sub(whole.get, before.get), inside.get)),
              ]),
            ]),
          ]),
        ]),
      ];
    },
  );
}

export const unfold = windows('unfold');
export const fold = windows('fold');

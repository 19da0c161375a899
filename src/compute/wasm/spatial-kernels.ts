import { type Code, i32, kernel, loop, overLanes, set, when } from './assembler.js';

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
    const clampLow = (value: Code): Code => [
      ...value,
      ...i32.constant(0),
      ...i32.less(i32.constant(0), value),
      0x1b,
    ];
    const smaller = (a: Code, b: Code): Code => [...a, ...b, ...i32.less(a, b), 0x1b];
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
          set(firstY, clampLow(firstY.get)),
          set(firstX, clampLow(firstX.get)),
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

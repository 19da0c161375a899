import {
  i32,
  kernel,
  type Lane,
  type Local,
  largestOfLanes,
  loop,
  overLanes,
  scalar,
  set,
  sumOfLanes,
  vector,
} from './assembler.js';
import { exponential } from './transcendental.js';

/**
 * For each row of logits its largest value, and `sum_j exp(z_j - largest)`, and `sum_j z_j - largest`.
 * `statistics` is (rows, 3).
 */
export const softmaxStatistics = kernel(
  'softmaxStatistics',
  { logits: 'i32', rows: 'i32', stride: 'i32', statistics: 'i32' },
  ({ parameters: { logits, rows, stride, statistics }, local }) => {
    const row = local('i32');
    const offset = local('i32');
    const largest4 = local('v128');
    const largest = local('f32');
    const total4 = local('v128');
    const total = local('f32');
    const shifted4 = local('v128');
    const shifted = local('f32');
    const pick = (lane: Lane, one: Local, four: Local) => (lane === vector ? four : one);
    const address = i32.add(logits.get, offset.get);
    const lowest = Number.NEGATIVE_INFINITY;
    return [
      loop(row, i32.constant(0), rows.get, i32.constant(1), [
        set(largest4, vector.constant(lowest)),
        set(largest, scalar.constant(lowest)),
        overLanes(offset, stride.get, (lane) => {
          const target = pick(lane, largest, largest4);
          return [set(target, lane.max(target.get, lane.load(address)))];
        }),
        set(largest, scalar.max(largest.get, largestOfLanes(largest4))),
        set(total4, vector.constant(0)),
        set(total, scalar.constant(0)),
        set(shifted4, vector.constant(0)),
        set(shifted, scalar.constant(0)),
        overLanes(offset, stride.get, (lane) => {
          const sum = pick(lane, total, total4);
          const sumShifted = pick(lane, shifted, shifted4);
          const value = local(lane.type);
          const { code, result } = exponential(lane, value.get, local);
          return [
            set(value, lane.sub(lane.load(address), lane.spread(largest.get))),
            code,
            set(sum, lane.add(sum.get, result)),
            set(sumShifted, lane.add(sumShifted.get, value.get)),
          ];
        }),
        scalar.store(statistics.get, largest.get, 0),
        scalar.store(statistics.get, scalar.add(total.get, sumOfLanes(total4)), 4),
        scalar.store(statistics.get, scalar.add(shifted.get, sumOfLanes(shifted4)), 8),
        set(statistics, i32.add(statistics.get, i32.constant(12))),
        set(logits, i32.add(logits.get, stride.get)),
      ]),
    ];
  },
);

/**
 * `output[r, j] = scale (exp(z[r, j] - largest[r]) / total[r] - smoothed)`, values nearer to zero than
 * `smallest` cut to zero. `statistics` is that of `softmaxStatistics`.
 */
export const softmaxGradient = kernel(
  'softmaxGradient',
  {
    logits: 'i32',
    rows: 'i32',
    stride: 'i32',
    statistics: 'i32',
    output: 'i32',
    scale: 'f32',
    smoothed: 'f32',
    smallest: 'f32',
  },
  ({ parameters: p, local }) => {
    const row = local('i32');
    const offset = local('i32');
    const largest = local('f32');
    const factor = local('f32');
    const base = local('f32');
    return [
      set(base, scalar.mul(p.scale.get, p.smoothed.get)),
      loop(row, i32.constant(0), p.rows.get, i32.constant(1), [
        set(largest, scalar.load(p.statistics.get, 0)),
        set(factor, scalar.div(p.scale.get, scalar.load(p.statistics.get, 4))),
        overLanes(offset, p.stride.get, (lane) => {
          const value = local(lane.type);
          const logit = lane.load(i32.add(p.logits.get, offset.get));
          const { code, result } = exponential(lane, lane.sub(logit, lane.spread(largest.get)), local);
          return [
            code,
            set(value, lane.sub(lane.mul(result, lane.spread(factor.get)), lane.spread(base.get))),
            lane.store(
              i32.add(p.output.get, offset.get),
              lane.keepWhere(lane.less(lane.spread(p.smallest.get), lane.abs(value.get)), value.get),
            ),
          ];
        }),
        set(p.statistics, i32.add(p.statistics.get, i32.constant(12))),
        set(p.logits, i32.add(p.logits.get, p.stride.get)),
        set(p.output, i32.add(p.output.get, p.stride.get)),
      ]),
    ];
  },
);

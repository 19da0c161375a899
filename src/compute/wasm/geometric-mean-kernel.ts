import {
  type Code,
  i32,
  kernel,
  type Lane,
  type Local,
  largestOfLanes,
  overLanes,
  scalar,
  set,
  sumOfLanes,
  vector,
  when,
} from './assembler.js';
import { exponential, logarithm } from './transcendental.js';

/**
 * Replaces masses q by `exp(v_i - max v)` with `v_i = a log q_i + b z_i`: their weighted geometric mean with a softmax of
 * logits z, but for a factor.
 *
 * Writes to `statistics` the sum of q, which is not a number if a logit is not finite, the sum of what replaced it, the
 * largest and the smallest z, and, if `wantsExponentials` is not 0, the sum of `exp(scale (z_i - max z))`. Masses below
 * `smallest` count as that.
 */
export const geometricMean = kernel(
  'geometricMean',
  {
    masses: 'i32',
    logits: 'i32',
    bytes: 'i32',
    statistics: 'i32',
    a: 'f32',
    b: 'f32',
    smallest: 'f32',
    wantsExponentials: 'i32',
    scale: 'f32',
  },
  ({ parameters: p, local }) => {
    const offset = local('i32');
    const accumulator = () => ({ one: local('f32'), four: local('v128') });
    type Accumulator = ReturnType<typeof accumulator>;
    const of = (lane: Lane, { one, four }: Accumulator) => (lane === vector ? four : one);
    const start = ({ one, four }: Accumulator, value: number) => [
      set(one, scalar.constant(value)),
      set(four, vector.constant(value)),
    ];
    const largestOf = ({ one, four }: Accumulator) => set(one, scalar.max(one.get, largestOfLanes(four)));
    const sumOf = ({ one, four }: Accumulator) => set(one, scalar.add(one.get, sumOfLanes(four)));
    const [sum, top, negated, most, largest, total, exponentials] = Array.from(
      { length: 7 },
      accumulator,
    ) as [Accumulator, Accumulator, Accumulator, Accumulator, Accumulator, Accumulator, Accumulator];
    const at = (base: Local) => i32.add(base.get, offset.get);
    const lowest = Number.NEGATIVE_INFINITY;
    return [
      ...start(sum, 0),
      ...start(most, 0),
      ...start(top, lowest),
      ...start(negated, lowest),
      ...start(largest, lowest),
      ...start(total, 0),
      ...start(exponentials, 0),
      overLanes(offset, p.bytes.get, (lane) => {
        const [mass, logit] = [local(lane.type), local(lane.type)];
        const raise = (to: Accumulator, value: Code) => set(of(lane, to), lane.max(of(lane, to).get, value));
        return [
          set(mass, lane.load(at(p.masses))),
          set(logit, lane.load(at(p.logits))),
          // A logit that is not finite makes the sum not a number.
          set(
            of(lane, sum),
            lane.add(of(lane, sum).get, lane.add(mass.get, lane.mul(logit.get, lane.constant(0)))),
          ),
          raise(most, mass.get),
          raise(top, logit.get),
          raise(negated, lane.sub(lane.constant(0), logit.get)),
        ];
      }),
      ...[top, negated, most].map(largestOf),
      sumOf(sum),
      // The largest are taken out first, so that what matters is near 0, where single precision is fine.
      set(most.one, scalar.div(scalar.constant(1), scalar.max(most.one.get, p.smallest.get))),
      overLanes(offset, p.bytes.get, (lane) => {
        const mean = local(lane.type);
        const mass = lane.mul(
          lane.max(lane.load(at(p.masses)), lane.spread(p.smallest.get)),
          lane.spread(most.one.get),
        );
        const { code, result } = logarithm(lane, mass, local);
        const logit = lane.sub(lane.load(at(p.logits)), lane.spread(top.one.get));
        return [
          ...code,
          set(mean, lane.add(lane.mul(lane.spread(p.a.get), result), lane.mul(lane.spread(p.b.get), logit))),
          lane.store(at(p.masses), mean.get),
          set(of(lane, largest), lane.max(of(lane, largest).get, mean.get)),
        ];
      }),
      largestOf(largest),
      overLanes(offset, p.bytes.get, (lane) => {
        const value = local(lane.type);
        const { code, result } = exponential(
          lane,
          lane.sub(lane.load(at(p.masses)), lane.spread(largest.one.get)),
          local,
        );
        return [
          code,
          set(value, result),
          lane.store(at(p.masses), value.get),
          set(of(lane, total), lane.add(of(lane, total).get, value.get)),
        ];
      }),
      sumOf(total),
      when(p.wantsExponentials.get, [
        overLanes(offset, p.bytes.get, (lane) => {
          const shifted = lane.sub(lane.load(at(p.logits)), lane.spread(top.one.get));
          const { code, result } = exponential(lane, lane.mul(lane.spread(p.scale.get), shifted), local);
          return [code, set(of(lane, exponentials), lane.add(of(lane, exponentials).get, result))];
        }),
      ]),
      sumOf(exponentials),
      scalar.store(p.statistics.get, sum.one.get, 0),
      scalar.store(p.statistics.get, total.one.get, 4),
      scalar.store(p.statistics.get, top.one.get, 8),
      scalar.store(p.statistics.get, scalar.sub(scalar.constant(0), negated.one.get), 12),
      scalar.store(p.statistics.get, exponentials.one.get, 16),
    ];
  },
);

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
  type ValueType,
  vector,
} from './assembler.js';
import { exponential } from './softmax-kernels.js';

/**
 * log(x) for normal x above 0, with an absolute error below 1e-7 near 1 and a relative one below 2e-7 elsewhere.
 *
 * `x = 2^e (1 + f)` with `1 + f` in [sqrt(1/2), sqrt(2)), and a polynomial for `log(1 + f)`: that of Cephes' logf
 * (Moshier, 1992).
 */
function logarithm(
  lane: Lane,
  value: Code,
  local: (type: ValueType) => Local,
): { code: readonly Code[]; result: Code } {
  const [x, power, f, square] = [local(lane.type), local(lane.type), local(lane.type), local(lane.type)];
  const coefficients = [
    7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
    2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
  ];
  const [first = 0, ...others] = coefficients;
  let polynomial = lane.constant(first);
  for (const coefficient of others) {
    polynomial = lane.add(lane.mul(polynomial, f.get), lane.constant(coefficient));
  }
  // ln 2 in two parts, the first exact in few bits, so that e ln 2 loses nothing.
  const high = 0.693359375;
  const low = Math.LN2 - high;
  const cubic = lane.mul(lane.mul(polynomial, f.get), square.get);
  const small = lane.sub(
    lane.add(cubic, lane.mul(power.get, lane.constant(low))),
    lane.mul(square.get, lane.constant(0.5)),
  );
  return {
    code: [
      set(x, value),
      set(power, lane.exponent(x.get)),
      set(f, lane.sub(lane.significand(x.get), lane.constant(1))),
      set(square, lane.mul(f.get, f.get)),
    ],
    result: lane.add(lane.add(small, f.get), lane.mul(power.get, lane.constant(high))),
  };
}

/**
 * Replaces masses q by `exp(v_i - max v)` with `v_i = a log q_i + b z_i`: their weighted geometric mean with a softmax of
 * logits z, but for a factor.
 *
 * Writes to `statistics` the sum of q, which is not a number if a logit is not finite, the sum of what replaced it, and the largest and the smallest z. Masses below
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
    const [sum, top, negated, most, largest, total] = Array.from({ length: 6 }, accumulator) as [
      Accumulator,
      Accumulator,
      Accumulator,
      Accumulator,
      Accumulator,
      Accumulator,
    ];
    const at = (base: Local) => i32.add(base.get, offset.get);
    const lowest = Number.NEGATIVE_INFINITY;
    return [
      ...start(sum, 0),
      ...start(most, 0),
      ...start(top, lowest),
      ...start(negated, lowest),
      ...start(largest, lowest),
      ...start(total, 0),
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
      scalar.store(p.statistics.get, sum.one.get, 0),
      scalar.store(p.statistics.get, total.one.get, 4),
      scalar.store(p.statistics.get, top.one.get, 8),
      scalar.store(p.statistics.get, scalar.sub(scalar.constant(0), negated.one.get), 12),
    ];
  },
);

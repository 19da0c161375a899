import { type Code, type Lane, type Local, set, type ValueType } from './assembler.js';

/** ln 2 in two parts, the first exact in few bits, so that a whole multiple of ln 2 loses nothing. */
const ln2 = { high: 0.693359375, low: Math.LN2 - 0.693359375 };

/**
 * exp(x) for x of at most 0, with a relative error below 2e-7; 0 below -87, where the result would be denormal.
 *
 * `x = n ln 2 + r` with |r| of at most `ln 2 / 2`, so `exp(x) = 2^n exp(r)`; exp(r) is a Taylor polynomial of
 * degree 7, whose remainder is below `(ln 2 / 2)^8 / 8! = 5e-9`.
 */
export function exponential(
  lane: Lane,
  value: Code,
  local: (type: ValueType) => Local,
): { code: Code; result: Code } {
  const x = local(lane.type);
  const power = local(lane.type);
  const rest = local(lane.type);
  const lowest = -87;
  let polynomial = lane.constant(1 / 5040);
  for (const factorial of [720, 120, 24, 6, 2, 1, 1]) {
    polynomial = lane.add(lane.mul(polynomial, rest.get), lane.constant(1 / factorial));
  }
  return {
    code: [
      ...set(x, value),
      ...set(
        power,
        lane.nearest(lane.mul(lane.max(x.get, lane.constant(lowest)), lane.constant(Math.LOG2E))),
      ),
      ...set(
        rest,
        lane.sub(
          lane.sub(lane.max(x.get, lane.constant(lowest)), lane.mul(power.get, lane.constant(ln2.high))),
          lane.mul(power.get, lane.constant(ln2.low)),
        ),
      ),
    ],
    result: lane.keepWhere(
      lane.less(lane.constant(lowest), x.get),
      lane.mul(polynomial, lane.powerOfTwo(power.get)),
    ),
  };
}

/**
 * log(x) for normal x above 0, with an absolute error below 1e-7 near 1 and a relative one below 2e-7 elsewhere.
 *
 * `x = 2^e (1 + f)` with `1 + f` in [sqrt(1/2), sqrt(2)), and a polynomial for `log(1 + f)`: that of Cephes' logf
 * (Moshier, 1992).
 */
export function logarithm(
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
  const cubic = lane.mul(lane.mul(polynomial, f.get), square.get);
  const small = lane.sub(
    lane.add(cubic, lane.mul(power.get, lane.constant(ln2.low))),
    lane.mul(square.get, lane.constant(0.5)),
  );
  return {
    code: [
      set(x, value),
      set(power, lane.exponent(x.get)),
      set(f, lane.sub(lane.significand(x.get), lane.constant(1))),
      set(square, lane.mul(f.get, f.get)),
    ],
    result: lane.add(lane.add(small, f.get), lane.mul(power.get, lane.constant(ln2.high))),
  };
}

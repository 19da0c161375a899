// IEEE 754 binary16, which JavaScript has no array for on every supported Node.

/** The largest finite one. */
export const largestHalf = 65_504;

/** The number that 16 bits stand for. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/** The nearest IEEE 754 binary16, as its bits; ties to even. */
export function numberToHalf(value: number): number {
  single[0] = value;
  const bits = singleBits[0];
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 0xff) - 127;
  const fraction = bits & 0x7fffff;
  if (exponent === 128) return sign | 0x7c00 | (fraction ? 0x200 : 0);
  if (exponent > 15) return sign | 0x7c00;
  if (exponent >= -14)
    return round(sign | ((exponent + 15) << 10) | (fraction >>> 13), fraction & 0x1fff, 0x1000);
  if (exponent < -25) return sign;
  const shift = -exponent - 14 + 13; // a number too small for an exponent of its own
  const whole = fraction | 0x800000;
  return round(sign | (whole >>> shift), whole & ((1 << shift) - 1), 1 << (shift - 1));
}

function round(bits: number, rest: number, half: number): number {
  return rest > half || (rest === half && bits & 1) ? bits + 1 : bits;
}

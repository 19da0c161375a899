/** Scales values that sum to `from`, so that they sum to `to`. */
export function rescale(values: Float64Array, from: number, to: number): void {
  if (from >= tiny) multiply(values, to / from);
  else if (from > 0) {
    multiply(values, 1 / tiny); // in two steps, because to / from might overflow
    multiply(values, to / (from / tiny));
  }
}

/** Far below any probability that matters, and far above where numbers lose their digits. */
const tiny = 1e-200;

/** In eights, which halves the time: it is the one loop over all classes that writes. */
function multiply(values: Float64Array, factor: number): void {
  const whole = values.length - (values.length % 8);
  for (let i = 0; i < whole; i += 8) {
    values[i] *= factor;
    values[i + 1] *= factor;
    values[i + 2] *= factor;
    values[i + 3] *= factor;
    values[i + 4] *= factor;
    values[i + 5] *= factor;
    values[i + 6] *= factor;
    values[i + 7] *= factor;
  }
  for (let i = whole; i < values.length; i++) values[i] *= factor;
}

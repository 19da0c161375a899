/** The most that calibration takes for noise, and a file may say: beyond it labels tell next to nothing. */
export const mostLabelNoise = 0.5;

/**
 * What a probability becomes where a share e of all labels says nothing, and may be any of C classes:
 *
 *     q'(c) = (1 - e) q(c) + e / C
 *
 * The order of the classes stays, but for those that single precision does not tell apart beside e / C. A wrong label,
 * which predictions all but rule out, then costs log(C / e) at most, instead of deciding a fit of temperatures by itself.
 *
 * @param labelNoise e, from 0 to {@link mostLabelNoise}
 */
export function underLabelNoise(labelNoise: number, classCount: number): (probability: number) => number {
  const floor = labelNoise / classCount;
  return (probability) => (1 - labelNoise) * probability + floor;
}

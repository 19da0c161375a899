/** Characters that were rendered in several designs, as `pool.json` has them: `complaints/pool.py`. */
export interface Pool {
  readonly characters: readonly string[];
  /** Those taken most often for one another first. */
  readonly confused: readonly string[];
  readonly training: readonly string[];
  /** Designs that each seed divides. */
  readonly divided: readonly string[];
}

/** Which designs a seed takes for what: four for the test, three for validation, all others for training. */
export function designsOf({ training, divided }: Pool, seed: number) {
  const turned = divided.map((_, index) => divided[(index + 4 * (seed - 1)) % divided.length]);
  return { test: turned.slice(0, 4), val: turned.slice(4, 7), train: [...training, ...turned.slice(7)] };
}

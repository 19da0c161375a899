/** Images that a teacher is asked about. */
export interface Question {
  /** (batch, height, width, channels), 0 to 1. */
  readonly images: Float32Array;
  readonly shape: readonly [number, number, number, number];
  /** (batch), index of each image in its set. */
  readonly rows: Int32Array;
}

/** Whoever gives distributions over the classes: a network, an ensemble, or a file. Owns resources until `dispose`. */
export interface Teacher {
  /** For a person. */
  readonly name: string;
  readonly classes: number;
  /**
   * Images of how many sets it can be asked about: a file of predictions knows only those of the transfer set, as
   * they are stored.
   */
  readonly answersAnyImage: boolean;
  /**
   * Logits, up to a constant an image: log-probabilities at temperature 1.
   *
   * @returns (batch, classes), finite
   */
  answer(question: Question): Promise<Float32Array>;
  dispose(): void;
}

/** A probability of 0 counts as this: its logarithm has to be a number that a student can be given. */
export const lowestLogProbability = -60;

/**
 * Everything that decides how hard jft-like is, in one block, with the reason for each number.
 *
 * Distances are in units of the pixel noise: a pattern of norm d, summed over the image, is told from its
 * absence by an ideal observer with a sensitivity index d' of d. So the difficulty does not change with the
 * size of the images.
 */
export interface Difficulty {
  /** Families for a data set of C classes: `familiesPerRootClass * sqrt(C)`. */
  readonly familiesPerRootClass: number;
  /** Mean number of classes in a genus; sizes vary around it by Zipf's law. */
  readonly meanGenusSize: number;
  /** Offset of Zipf's law for the sizes of families and genera: weight `1 / (rank + offset)`. */
  readonly sizeOffset: number;
  /** Offset of Zipf's law for class frequencies, as a share of the number of classes. */
  readonly frequencyOffset: number;
  /** Share of the images that is spread evenly over all classes: the floor of the tail. */
  readonly evenShare: number;
  /** Norm of a family's pattern and the cells across that it varies over. */
  readonly family: Pattern;
  /** Norm and cells of a genus's difference from its family. */
  readonly genus: Pattern;
  /** Norm and cells of a class's own difference from its genus. */
  readonly own: Pattern;
  /** Patterns a family has for telling its classes apart: each class's own difference is a mixture of them. */
  readonly detailsPerFamily: number;
  /** Standard deviation of the Gaussian pixel noise, in grey levels. */
  readonly noiseLevels: number;
  /** Factors by which a pattern is multiplied, equally likely. */
  readonly contrasts: readonly number[];
  /** Shifts each way, as a share of the image's side, rounded to at least a pixel. */
  readonly shiftShare: number;
  /** Of the wrong labels, the share that names a sibling; the others name any class. */
  readonly siblingShare: number;
}

export interface Pattern {
  /** In units of the pixel noise, over the whole image. */
  readonly norm: number;
  /** The pattern is interpolated between random values on the corners of `cells` × `cells` cells. */
  readonly cells: number;
}

export const defaultDifficulty: Difficulty = {
  // 146 families at 15,000 classes, 20 at 300: families grow with the data set, and so does their number.
  familiesPerRootClass: 1.2,
  // A specialist of 300 classes has room for about 25 such groups of siblings.
  meanGenusSize: 12,
  // The largest of 146 families holds a ninth of 15,000 classes, the smallest 23 classes.
  sizeOffset: 2,
  // The most frequent class is 200 times as frequent as the rarest, before the floor.
  frequencyOffset: 1 / 200,
  // At 40 images a class on average the rarest class still has about ten.
  evenShare: 0.1,
  // Strangers are hardly ever confused: families lie about 14 noise units apart.
  family: { norm: 10, cells: 3 },
  // Cousins are confused by a poor network, not by an ideal observer.
  genus: { norm: 6, cells: 5 },
  // Siblings are confused by everybody: the norm sets the ceiling. The cells are fine, so that a small network,
  // which has to find room for the details of all families at once, loses more than an ideal observer.
  own: { norm: 3.2, cells: 10 },
  // Few enough that a specialist can learn them from its 300 classes; all families' together exceed a small
  // network's features.
  detailsPerFamily: 12,
  // Patterns and noise together stay within 0 to 255 but for about one pixel in a million.
  noiseLevels: 20,
  contrasts: [0.75, 1, 1.25],
  // One pixel at 16 × 16: nine positions, which convolution with pooling forgives and a perceptron does not.
  shiftShare: 1 / 16,
  // People mislabel what looks alike.
  siblingShare: 0.8,
};

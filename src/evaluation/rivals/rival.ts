import { type Harm, harmOf, isWithinBound } from '../../ensemble/calibration/harm-bound.js';
import { createMean, type Estimate } from '../../math/mean.js';
import type { FeatureSet, Head } from '../../training/heads/fit-head.js';

// What a user could do instead of training specialists, on the same features of the same images. Whatever it is, it
// gives every class a score, and one number may raise or lower the classes that have images against all others. So all
// that has to be known of an image, under all values of that number, is the leading class on either side.

/** Of each image the leading class among those with images (inside) and among all others (outside). */
export interface Leaders {
  /** (rows), -1 where there is no such class. */
  readonly inside: Int32Array;
  readonly outside: Int32Array;
  /** (rows), the score outside less the score inside, in nats. */
  readonly margin: Float64Array;
}

/** What the generalist's head makes of images, as far as any rival needs it. */
export interface GeneralistScores {
  /** Among all classes. */
  readonly leaders: Leaders;
  /**
   * Of each image the class out of play with the highest logit, -1 where all are in play, and that logit. A head that is
   * trained over the classes in play leaves all others as they are: this one leads them whatever is made of the rest.
   */
  readonly outOfPlay: { readonly classes: Int32Array; readonly logits: Float32Array };
  /** (rows, `count`) the most probable classes of each image and their logits, descending; fewer classes: all. */
  readonly first: { readonly count: number; readonly classes: Int32Array; readonly logits: Float32Array };
}

/** Images with what the generalist makes of them: its logits over all classes are computed once, not for every rival. */
export interface ScoredSet extends FeatureSet {
  readonly generalist: GeneralistScores;
}

/** Values of the numbers that validation chooses, by name. */
export type FreeNumbers = Readonly<Record<string, number>>;

/** What it costs to have a rival. */
export interface RivalCost {
  /** Multiplications and additions of a prediction, after the backbone that all share. */
  readonly flops: number;
  /** Numbers that were fitted or stored. */
  readonly parameters: number;
  readonly trainingSeconds: number;
  /** Multiplications and additions of its training. */
  readonly trainingFlops: number;
}

/** One thing that a user could do instead. */
export interface Rival {
  readonly name: string;
  /** What it is, in a sentence. */
  readonly what: string;
  /** The settings to choose from, beside the shift. */
  readonly variants: readonly FreeNumbers[];
  /** Shifts of the classes with images to choose from, in nats; the least intrusive first. */
  readonly shifts: readonly number[];
  readonly cost: RivalCost;
  /** The leaders of each image, under each of some settings. */
  leaders(set: ScoredSet, variants: readonly FreeNumbers[]): Promise<readonly Leaders[]>;
  /** Under one setting, the head on standardised features that predicts the same; absent where no head does. */
  head?(choice: Choice): Promise<Head>;
}

/**
 * Rivals that `kd-spec export --refit` writes: all but the model as it is. Some need an imported model (`importedRivals`),
 * and neighbours training features that are not too large (`mostNeighbourBytes`).
 */
export const writtenRivals = [
  'temperature',
  'prior',
  'bias',
  'refitted',
  'interpolated',
  'hidden',
  'adapter',
  'neighbours',
] as const;

/** Those of them that are written into imported models alone: more than another last layer of the same form. */
export const importedRivals: readonly string[] = [
  'hidden',
  'neighbours',
] satisfies (typeof writtenRivals)[number][];

/** Bytes of the features that neighbours are sought among, as they are stored. */
export const neighbourBytes = (rows: number, width: number): number => 4 * rows * width;

/**
 * The most that are stored. Every comparison of an imported model writes them, whether a file is exported or not, and what
 * loads the file holds them all, beside a model that is mostly smaller than this.
 */
export const mostNeighbourBytes = 256e6;

/** Shifts from -8 to 8 nats by quarters, 0 first. */
export const shifts: readonly number[] = [
  0,
  ...Array.from({ length: 32 }, (_, step) => (step + 1) / 4).flatMap((shift) => [shift, -shift]),
];

/** The predicted class of each image when the classes with images are raised by some nats; ties go to the lower class. */
export function predictions({ inside, outside, margin }: Leaders, shift: number): Int32Array {
  return inside.map((own, row) => {
    const isInside = shift > margin[row] || (shift === margin[row] && own < outside[row]);
    return isInside ? own : outside[row];
  });
}

/** Room for the leaders of some images. */
export function emptyLeaders(rows: number): Leaders {
  return {
    inside: new Int32Array(rows),
    outside: new Int32Array(rows),
    margin: new Float64Array(rows),
  };
}

/** Classes that an image's leaders are sought among: those with images first. */
export interface Candidates {
  readonly classes: Int32Array;
  /** How many of them have images. */
  readonly inside: number;
}

/**
 * @param labels classes, each once
 * @param isPictured (classes), 1 where a class has images
 */
export function candidatesOf(labels: Iterable<number>, isPictured: Uint8Array): Candidates {
  const classes = Int32Array.from(labels).sort((a, b) => isPictured[b] - isPictured[a] || a - b);
  return { classes, inside: classes.reduce((sum, label) => sum + isPictured[label], 0) };
}

/**
 * Writes the leaders of an image; of candidates with equal scores the first one leads.
 *
 * @param scores of the candidates, in nats up to a constant
 */
export function lead(
  leaders: Leaders,
  row: number,
  scores: Float32Array | Float64Array,
  { classes, inside }: Candidates,
): void {
  const own = firstBetween(scores, 0, inside);
  const other = firstBetween(scores, inside, scores.length);
  leaders.inside[row] = own < 0 ? -1 : classes[own];
  leaders.outside[row] = other < 0 ? -1 : classes[other];
  if (own < 0) leaders.margin[row] = Number.POSITIVE_INFINITY;
  else if (other < 0) leaders.margin[row] = Number.NEGATIVE_INFINITY;
  else leaders.margin[row] = scores[other] === scores[own] ? 0 : scores[other] - scores[own];
}

/** The place of the largest number between two places, -1 where there is none. */
function firstBetween(scores: Float32Array | Float64Array, from: number, to: number): number {
  if (from >= to) return -1;
  let first = from;
  let most = scores[from];
  for (let place = from + 1; place < to; place++) {
    if (scores[place] > most) {
      first = place;
      most = scores[place];
    }
  }
  return first;
}

/** 1 where the prediction is the label. */
export function correct(predicted: Int32Array, { labels }: FeatureSet): Uint8Array {
  return Uint8Array.from(predicted, (label, row) => Number(label === labels[row]));
}

/** The mean of a difference of two outcomes on the same images. */
export function pairedDifference(after: Uint8Array, before: Uint8Array): Estimate {
  const difference = createMean();
  for (const [row, one] of after.entries()) difference.add(one - before[row]);
  return difference.estimate();
}

/** The harm to bystanders, from what was right before and after. */
export function harmBetween(before: Uint8Array, after: Uint8Array): Harm {
  const bit = (value: number) => (value === 1 ? 1 : 0);
  return harmOf(Array.from(before, (one, row) => ({ before: bit(one), after: bit(after[row]) })));
}

/** What validation chose among the settings of a rival. */
export interface Choice {
  readonly variant: FreeNumbers;
  readonly shift: number;
}

/** Images to choose on, with what the generalist gets right of them. */
export interface Judged {
  readonly set: ScoredSet;
  readonly before: Uint8Array;
}

/**
 * Chooses the free numbers of a rival: those that get most validation images right, of all, and of those whose harm to
 * bystanders is within a bound with one standard error to spare, as it is for specialists.
 *
 * @param bystanders none: nothing bounds the choice
 * @param bounds on the harm, shares
 * @returns `bounded` has a choice for each bound: undefined where nothing is within it, or there are no bystanders
 *
 * Cost: a pass over validation and bystanders for each variant; shifts cost nothing but counting.
 */
export async function chooseNumbers(
  rival: Rival,
  validation: ScoredSet,
  bystanders: Judged | undefined,
  bounds: readonly number[],
): Promise<{ readonly best: Choice; readonly bounded: readonly (Choice | undefined)[] }> {
  type Scored = Choice & { readonly right: number };
  const onValidation = await rival.leaders(validation, rival.variants);
  const onBystanders = bystanders && (await rival.leaders(bystanders.set, rival.variants));
  let best: Scored | undefined;
  const bounded = bounds.map((): Scored | undefined => undefined);
  for (const shift of rival.shifts) {
    for (const [place, variant] of rival.variants.entries()) {
      const outcome = correct(predictions(onValidation[place], shift), validation);
      const right = outcome.reduce((sum, one) => sum + one, 0);
      if (best === undefined || right > best.right) best = { variant, shift, right };
      if (bystanders === undefined || onBystanders === undefined) continue;
      if (bounded.every((one) => one !== undefined && right <= one.right)) continue;
      const after = correct(predictions(onBystanders[place], shift), bystanders.set);
      const harm = harmBetween(bystanders.before, after);
      for (const [index, bound] of bounds.entries()) {
        const found = bounded[index];
        if ((found === undefined || right > found.right) && isWithinBound(harm, bound))
          bounded[index] = { variant, shift, right };
      }
    }
  }
  return { best: best ?? { variant: {}, shift: 0 }, bounded };
}

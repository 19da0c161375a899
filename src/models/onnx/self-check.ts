import { createPause, type Pause } from '../../core/pause.js';
import { percent } from '../../core/percent.js';
import { firstClass } from '../../math/rank.js';
import { logSumExp } from '../../math/softmax.js';
import type { Backbone, DenseHead } from '../backbone.js';
import { rowOf } from '../classifier.js';
import { describeReading, type OnnxImageInput, type Reading } from './reading.js';

/** Labelled images to try a foreign model on. */
export interface CheckImages {
  /** (count, height, width, channels), in [0, 1] */
  readonly images: Float32Array;
  readonly count: number;
  /** (count), classes of the model. */
  readonly labels: Int32Array;
}

/** How a model does under one reading of its input. */
export interface ReadingScore {
  readonly reading: Reading;
  /** For a person, and in `--json`. */
  readonly name: string;
  /** How many images it was tried on: fewer where the first ones showed that another reading does better. */
  readonly examples: number;
  readonly top1: number;
  /** Mean, in nats. */
  readonly negativeLogLikelihood: number;
}

/** What the check found. */
export interface SelfCheck {
  readonly examples: number;
  /** How long the model took for one image. */
  readonly imageMs: number;
  readonly chosen: ReadingScore;
  /** The chosen one first, then the best of the others. */
  readonly scores: readonly ReadingScore[];
  /** Sentences that warn: no more right than chance, labels that are one off, or two readings that do about as well. */
  readonly warnings: readonly string[];
}

const firstImages = 64; // on which every reading is tried
const hopelessErrors = 3; // standard errors of the paired difference by which a reading is worse, to be tried no further
const chanceErrors = 1; // within which the number of images right is chance, and the likelihood of the labels decides
const doubtErrors = 2; // within which the choice is told
const chanceDoubts = 2; // standard errors above chance from which a model is better than that
const fewestForChance = 20; // images
const mostOfClasses = 0.8; // of the model's, from which the images tell how often it is right by chance

/**
 * Tries every reading that is left open on labelled images, and takes the one under which the model does best: of those
 * within one paired standard error of the most images right, the one with the likeliest labels. The wrong order of
 * channels or the wrong normalisation makes a model much worse, without an error: readings that the first 64 images show
 * to be worse are not tried on the others.
 *
 * @param readings at least one
 * @param open makes the backbone under a reading; it is disposed of here
 * @param signal ends it between a few images
 * @throws KdSpecError `interrupted`
 *
 * Cost: one forward pass an image and reading, over 64 images for each and over all for those that do about as well; of
 * readings that come to the same on these images, for one.
 */
export async function checkReadings(
  input: OnnxImageInput,
  readings: readonly Reading[],
  head: DenseHead,
  check: CheckImages,
  open: (reading: Reading) => Promise<Backbone>,
  signal?: AbortSignal,
): Promise<SelfCheck> {
  const rest = createPause(signal, 'trying the model');
  const ran = { images: 0, ms: 0 };
  const tryOn = async (reading: Reading, images: CheckImages) => {
    const backbone = await open(reading);
    const start = performance.now();
    try {
      return await outcomesOf(backbone, head, images, rest);
    } finally {
      ran.images += images.count;
      ran.ms += performance.now() - start;
      backbone.dispose();
    }
  };
  const [first, later] = [part(check, 0, firstImages), part(check, firstImages, check.count)];
  const tried: Tried[] = [];
  for (const alike of groupsOf(readings, check, input.image.channels))
    tried.push({ alike, outcomes: await tryOn(alike[0], first) });
  const best = leader(tried, ({ outcomes }) => top1Of(outcomes));
  const promising = tried.filter(({ outcomes }) => !isWorse(outcomes, best.outcomes, hopelessErrors));
  if (later.count > 0)
    for (const { alike, outcomes } of promising) outcomes.push(...(await tryOn(alike[0], later)));
  const most = leader(promising, ({ outcomes }) => top1Of(outcomes));
  const close = promising.filter(({ outcomes }) => !isWorse(outcomes, most.outcomes, chanceErrors));
  const used = leader(close, ({ outcomes }) => -lossOf(outcomes));
  const others = tried.filter((one) => one !== used);
  const scores = [used, ...others.sort((a, b) => compareOutcomes(a.outcomes, b.outcomes))].flatMap(
    ({ alike, outcomes }): readonly ReadingScore[] =>
      alike.map((reading) => ({
        reading,
        name: describeReading(reading, input.image.channels),
        examples: outcomes.length,
        top1: top1Of(outcomes),
        negativeLogLikelihood: lossOf(outcomes),
      })),
  );
  const isHopeless = scores.every(({ top1 }) => top1 === 0);
  const doubts = labelDoubts(used.outcomes, check.labels, isHopeless);
  const chance =
    doubts.length > 0 || isHopeless ? undefined : chanceOf(used.outcomes, check.labels, head.classes);
  const warnings = [
    ...doubts,
    ...(chance === undefined ? [] : [asChance(used.outcomes, chance)]),
    ...(isHopeless ? [] : readingDoubts(scores, used, others.at(0))),
  ];
  const imageMs = ran.ms / Math.max(1, ran.images);
  return { examples: check.count, imageMs, chosen: scores[0], scores, warnings };
}

/** The first of some with the greatest value. */
const leader = <One>(some: readonly One[], value: (one: One) => number): One =>
  some.reduce((one, other) => (value(other) > value(one) ? other : one));

/** Those that were tried on all images first, of these the most right, and then the likeliest labels. */
const compareOutcomes = (a: readonly Outcome[], b: readonly Outcome[]) =>
  b.length - a.length || top1Of(b) - top1Of(a) || lossOf(a) - lossOf(b);

/** Readings by what they make of some images: without colour, the order of channels makes no difference by itself. */
function groupsOf(
  readings: readonly Reading[],
  { images }: CheckImages,
  channels: number,
): readonly (readonly [Reading, ...Reading[]])[] {
  const isGrey = channels === 1 || images.every((value, at) => at % 3 === 0 || value === images[at - 1]);
  const groups = new Map<string, [Reading, ...Reading[]]>();
  for (const reading of readings) {
    const { mean, deviation } = reading.normalisation;
    const key = JSON.stringify([isGrey ? 'any' : reading.order, mean, deviation]);
    const group = groups.get(key);
    if (group) group.push(reading);
    else groups.set(key, [reading]);
  }
  return [...groups.values()];
}

/** Readings that come to the same on these images, and how they do. */
interface Tried {
  readonly alike: readonly [Reading, ...Reading[]];
  readonly outcomes: Outcome[];
}

/** Whether something is wrong with the labels: none is right, or those beside them are. */
function labelDoubts(
  outcomes: readonly Outcome[],
  labels: Int32Array,
  isHopeless: boolean,
): readonly string[] {
  const shareOf = (offset: number) =>
    meanOf(outcomes.map(({ first }, image) => Number(first === labels[image] + offset)));
  const top1 = shareOf(0);
  const offset = leader([-1, 1], shareOf);
  // A model that always predicts one class is one off for the class beside it, and not for the others.
  const besides = new Set(
    outcomes.flatMap(({ first }, image) => (first === labels[image] + offset ? [first] : [])),
  );
  const areOneOff = besides.size > 1 && besides.size >= new Set(labels).size / 2;
  if (areOneOff && shareOf(offset) > Math.max(0.3, 2 * top1)) {
    const [side, counts] =
      offset < 0 ? ['before', '1, and its own from 0'] : ['after', '0, and its own from 1'];
    return [
      `for ${percent(shareOf(offset))} of ${outcomes.length} labelled images the model predicts the class ${side} the ` +
        `label, for ${percent(top1)} the label itself: is its list of names one off, or do the numbers of the images ` +
        `count from ${counts}? --labels FILE names its classes as the images do, one a line in the order of its outputs`,
    ];
  }
  if (!isHopeless) return [];
  return [
    `the model gets none of ${outcomes.length} labelled images right under any reading: check that the class names are in ` +
      "the order of the model's outputs (--labels), and the normalisation (--image-mean, --image-std, --channel-order)",
  ];
}

/**
 * The share of images that chance gets right, where a model gets no more right than that.
 *
 * Chance is what guessing among all classes of the model gets. Where the images are of most of these, or the model predicts
 * one class alone for images of three or more, it is what the model's own predictions get when they are shuffled among the
 * images, if that is more: what one gets that always predicts a frequent class. Of images of a few classes, as a list of
 * complaints has them, this tells nothing: that a model takes them for these few is no chance, even where it confuses them. A model is better where it is above that by two of the
 * standard errors that chance itself has on as many images.
 *
 * @returns undefined where the model is better, and where too few images or one class alone tell nothing
 */
function chanceOf(
  outcomes: readonly Outcome[],
  labels: Int32Array,
  modelClasses: number,
): number | undefined {
  const images = outcomes.length;
  const classes = countsOf(labels);
  if (images < fewestForChance || classes.size < 2) return undefined;
  const predicted = countsOf(outcomes.map(({ first }) => first));
  let shuffled = 0;
  for (const [label, count] of classes) shuffled += (count / images) * ((predicted.get(label) ?? 0) / images);
  const areMost = classes.size >= mostOfClasses * modelClasses;
  const isConstant = predicted.size === 1 && classes.size > 2;
  const chance = Math.max(1 / modelClasses, areMost || isConstant ? shuffled : 0);
  const error = Math.sqrt((chance * (1 - chance)) / images);
  return top1Of(outcomes) < chance + chanceDoubts * error ? chance : undefined;
}

function countsOf(labels: Iterable<number>): ReadonlyMap<number, number> {
  const counts = new Map<number, number>();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  return counts;
}

/** What to look at in a model that is no better than chance. */
const asChance = (outcomes: readonly Outcome[], chance: number): string =>
  `the model gets ${percent(top1Of(outcomes))} of ${outcomes.length} labelled images right, not clearly more than ` +
  `chance would (${percent(chance)}): check that the output is the one that is meant (--logits), that the class names are in ` +
  'the order of its outputs (--labels), and how images are given (--image-mean, --image-std, --channel-order, --layout)';

/** Whether another reading may be the right one. */
function readingDoubts(
  [chosen, twin]: readonly ReadingScore[],
  { alike, outcomes }: Tried,
  next: Tried | undefined,
): readonly string[] {
  if (alike.length > 1) {
    return [
      `${chosen.name} and ${twin.name} make no difference to these images, which have no colour: --channel-order ` +
        'decides for images that have some',
    ];
  }
  if (next === undefined || next.outcomes.length < outcomes.length) return []; // ruled out beyond doubt
  if (isWorse(next.outcomes, outcomes, doubtErrors)) return [];
  return [
    `two readings of the images do about as well: ${chosen.name} (${percent(chosen.top1)}) and ${twin.name} ` +
      `(${percent(twin.top1)}); the first is used, --image-mean, --image-std and --channel-order decide otherwise`,
  ];
}

/** What a model makes of one image: its first class, whether that is the label, and - log p(label) in nats. */
interface Outcome {
  readonly first: number;
  readonly isRight: boolean;
  readonly loss: number;
}

const meanOf = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
const top1Of = (outcomes: readonly Outcome[]) => meanOf(outcomes.map(({ isRight }) => Number(isRight)));
const lossOf = (outcomes: readonly Outcome[]) => meanOf(outcomes.map(({ loss }) => loss));

/** Whether some outcomes are worse than others of the same images by more than some paired standard errors. */
function isWorse(some: readonly Outcome[], others: readonly Outcome[], errors: number): boolean {
  const lost = some.filter(({ isRight }, image) => !isRight && others[image].isRight).length;
  const gained = some.filter(({ isRight }, image) => isRight && !others[image].isRight).length;
  return lost - gained > errors * Math.sqrt(lost + gained);
}

/** Consecutive images, without a copy. */
function part({ images, labels, count }: CheckImages, from: number, to: number): CheckImages {
  const size = images.length / count;
  const [start, end] = [Math.min(from, count), Math.min(to, count)];
  return {
    images: images.subarray(start * size, end * size),
    labels: labels.subarray(start, end),
    count: end - start,
  };
}

const imagesAtOnce = 16; // between two pauses: a large model takes tenths of a second for each

async function outcomesOf(
  backbone: Backbone,
  head: DenseHead,
  { images, count, labels }: CheckImages,
  rest: Pause,
): Promise<Outcome[]> {
  const imageSize = images.length / count;
  const outcomes: Outcome[] = [];
  for (let start = 0; start < count; start += imagesAtOnce) {
    const pause = rest();
    if (pause) await pause;
    const size = Math.min(imagesAtOnce, count - start);
    const values = images.subarray(start * imageSize, (start + size) * imageSize);
    const features = await backbone.features({ images: values, count: size });
    const all = await head.logits(features, size);
    for (let row = 0; row < size; row++) {
      const label = labels[start + row];
      const logits = rowOf(all, row, head.classes);
      const first = firstClass(logits);
      outcomes.push({ first, isRight: first === label, loss: logSumExp(logits) - logits[label] });
    }
  }
  return outcomes;
}

import { createPause, type Pause } from '../../core/pause.js';
import { percent } from '../../core/percent.js';
import { firstClass } from '../../math/rank.js';
import { logSumExp } from '../../math/softmax.js';
import type { Backbone, DenseHead } from '../backbone.js';
import { rowOf } from '../classifier.js';
import type { OnnxImageInput } from './image-input.js';
import { describeReading, type Reading } from './reading.js';

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
  readonly chosen: ReadingScore;
  /** The best first; the chosen one among them. */
  readonly scores: readonly ReadingScore[];
  /** Sentences that warn: nothing right, or two readings that do about as well. */
  readonly warnings: readonly string[];
}

const firstImages = 64; // on which every reading is tried
const hopelessErrors = 3; // standard errors of the paired difference by which a reading is worse, to be tried no further

/**
 * Tries every reading that is left open on labelled images, and takes the one under which the model does best: most
 * images right, and of equal ones the likelier labels. The wrong order of channels or the wrong normalisation makes a
 * model much worse, without an error: readings that the first 64 images show to be worse are not tried on the others.
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
  const tryOn = async (reading: Reading, images: CheckImages) => {
    const backbone = await open(reading);
    try {
      return await outcomesOf(backbone, head, images, rest);
    } finally {
      backbone.dispose();
    }
  };
  const [first, others] = [part(check, 0, firstImages), part(check, firstImages, check.count)];
  const tried: { readonly alike: readonly Reading[]; readonly outcomes: Outcome[] }[] = [];
  for (const alike of groupsOf(readings, check, input.image.channels))
    tried.push({ alike, outcomes: await tryOn(alike[0], first) });
  const best = tried.reduce((one, other) => (top1Of(other.outcomes) > top1Of(one.outcomes) ? other : one));
  const promising = tried.filter(({ outcomes }) => !isWorse(outcomes, best.outcomes));
  if (others.count > 0)
    for (const { alike, outcomes } of promising) outcomes.push(...(await tryOn(alike[0], others)));
  const scores = tried
    .flatMap(({ alike, outcomes }): readonly ReadingScore[] => {
      const score = {
        examples: outcomes.length,
        top1: top1Of(outcomes),
        negativeLogLikelihood: meanOf(outcomes.map(({ loss }) => loss)),
      };
      return alike.map((reading) => ({
        reading,
        name: describeReading(reading, input.image.channels),
        ...score,
      }));
    })
    .sort(
      (a, b) =>
        b.examples - a.examples || b.top1 - a.top1 || a.negativeLogLikelihood - b.negativeLogLikelihood,
    );
  const [chosen, second] = scores;
  return { examples: check.count, chosen, scores, warnings: doubts(check.count, chosen, second) };
}

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

function doubts(examples: number, chosen: ReadingScore, second: ReadingScore | undefined): readonly string[] {
  if (chosen.top1 === 0) {
    return [
      `the model gets none of ${examples} labelled images right under any reading: check that the class names are in ` +
        "the order of the model's outputs (--labels), and the normalisation (--image-mean, --image-std, --channel-order)",
    ];
  }
  if (second === undefined || second.examples < chosen.examples) return []; // ruled out beyond doubt
  if (second.negativeLogLikelihood === chosen.negativeLogLikelihood) {
    return [
      `${chosen.name} and ${second.name} make no difference to these images, which have no colour: --channel-order ` +
        'decides for images that have some',
    ];
  }
  const error = Math.sqrt((chosen.top1 * (1 - chosen.top1)) / examples);
  if (chosen.top1 - second.top1 > 2 * error) return [];
  return [
    `two readings of the images do about as well: ${chosen.name} (${percent(chosen.top1)}) and ${second.name} ` +
      `(${percent(second.top1)}); the first is used, --image-mean, --image-std and --channel-order decide otherwise`,
  ];
}

/** What a model makes of one image: whether its first class is the label, and - log p(label) in nats. */
interface Outcome {
  readonly isRight: boolean;
  readonly loss: number;
}

const meanOf = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
const top1Of = (outcomes: readonly Outcome[]) => meanOf(outcomes.map(({ isRight }) => Number(isRight)));

/** Whether some outcomes are worse than others of the same images beyond doubt. */
function isWorse(some: readonly Outcome[], others: readonly Outcome[]): boolean {
  const lost = some.filter(({ isRight }, image) => !isRight && others[image].isRight).length;
  const gained = some.filter(({ isRight }, image) => isRight && !others[image].isRight).length;
  return lost - gained > hopelessErrors * Math.sqrt(lost + gained);
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

const imagesAtOnce = 8; // between two pauses: a large model takes tenths of a second for each

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
      outcomes.push({ isRight: firstClass(logits) === label, loss: logSumExp(logits) - logits[label] });
    }
  }
  return outcomes;
}

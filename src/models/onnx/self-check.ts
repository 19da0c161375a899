import { createPause, type Pause } from '../../core/pause.js';
import { percent } from '../../core/percent.js';
import { firstClass } from '../../math/rank.js';
import { logSumExp } from '../../math/softmax.js';
import type { Backbone } from '../backbone.js';
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
  readonly top1: number;
  /** Mean, in nats. */
  readonly negativeLogLikelihood: number;
}

/** What the check found; all scores are over the same images. */
export interface SelfCheck {
  readonly examples: number;
  readonly chosen: ReadingScore;
  /** The best first; the chosen one among them. */
  readonly scores: readonly ReadingScore[];
  /** Sentences that warn: nothing right, or two readings that do about as well. */
  readonly warnings: readonly string[];
}

/** A dense head on host arrays. */
export interface HostHead {
  readonly width: number;
  readonly classes: number;
  /** (width, classes) */
  readonly weights: Float32Array;
  /** (classes) */
  readonly bias: Float32Array;
}

/**
 * Tries every reading that is left open on labelled images, and takes the one under which the model does best: most
 * images right, and of equal ones the likelier labels. The wrong order of channels or the wrong normalisation makes a
 * model much worse, without an error.
 *
 * @param readings at least one
 * @param open makes the backbone under a reading; it is disposed of here
 * @param signal ends it between a few images
 * @throws KdSpecError `interrupted`
 *
 * Cost: one forward pass an image and reading.
 */
export async function checkReadings(
  input: OnnxImageInput,
  readings: readonly Reading[],
  head: HostHead,
  check: CheckImages,
  open: (reading: Reading) => Promise<Backbone>,
  signal?: AbortSignal,
): Promise<SelfCheck> {
  const scores: ReadingScore[] = [];
  const rest = createPause(signal, 'trying the model');
  for (const reading of readings) {
    const backbone = await open(reading);
    try {
      const name = describeReading(reading, input.image.channels);
      scores.push({ reading, name, ...(await score(backbone, head, check, rest)) });
    } finally {
      backbone.dispose();
    }
  }
  scores.sort((a, b) => b.top1 - a.top1 || a.negativeLogLikelihood - b.negativeLogLikelihood);
  const [chosen, second] = scores;
  return { examples: check.count, chosen, scores, warnings: doubts(check.count, chosen, second) };
}

function doubts(examples: number, chosen: ReadingScore, second: ReadingScore | undefined): readonly string[] {
  if (chosen.top1 === 0) {
    return [
      `the model gets none of ${examples} labelled images right under any reading: check that the class names are in ` +
        "the order of the model's outputs (--labels), and the normalisation (--image-mean, --image-std, --channel-order)",
    ];
  }
  if (second === undefined) return [];
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

const imagesAtOnce = 8; // between two pauses: a large model takes tenths of a second for each

async function score(
  backbone: Backbone,
  { width, classes, weights, bias }: HostHead,
  { images, count, labels }: CheckImages,
  rest: Pause,
): Promise<{ readonly top1: number; readonly negativeLogLikelihood: number }> {
  const logits = new Float64Array(classes);
  const imageSize = images.length / count;
  let correct = 0;
  let loss = 0;
  for (let start = 0; start < count; start += imagesAtOnce) {
    const pause = rest();
    if (pause) await pause;
    const size = Math.min(imagesAtOnce, count - start);
    const values = images.subarray(start * imageSize, (start + size) * imageSize);
    const features = await backbone.features({ images: values, count: size });
    for (let row = 0; row < size; row++) {
      const label = labels[start + row];
      logits.set(bias);
      for (let d = 0; d < width; d++) {
        const value = features[row * width + d];
        if (value === 0) continue;
        for (let c = 0, at = d * classes; c < classes; c++, at++) logits[c] += value * weights[at];
      }
      if (firstClass(logits) === label) correct++;
      loss += logSumExp(logits) - logits[label];
    }
  }
  return { top1: correct / count, negativeLogLikelihood: loss / count };
}

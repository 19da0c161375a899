import type { AdamMoments, Operations, Tensor2D, Variable } from '../../compute/operations.js';
import { KdSpecError } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import { trainingFlopsFactor } from '../../models/network-definition.js';

/** Images as a frozen backbone sees them. */
export interface FeatureSet {
  /** (rows, width). */
  readonly features: Float32Array;
  /** (rows), the class of each, or of an image without a label the generalist's first class. */
  readonly labels: Int32Array;
  readonly rows: number;
  readonly width: number;
}

/** A generalist's head on standardised features: mean 0 and deviation 1 over the training images. */
export interface Head {
  /** (width, classes); with hidden units (width + units, classes), their rows last. */
  readonly weights: Float32Array;
  /** (classes). */
  readonly bias: Float32Array;
  /** Of the features. */
  readonly width: number;
  readonly classes: number;
  /** Units, `relu(features weights + bias)`, that the head takes beside the features. */
  readonly hidden?: HiddenUnits | undefined;
}

export interface HiddenUnits {
  /** (width, units). */
  readonly weights: Float32Array;
  /** (units). */
  readonly bias: Float32Array;
}

/** What heads are trained on, and by. */
export interface HeadContext {
  readonly operations: Operations;
  readonly head: Head;
  /** Images of the classes with data, standardised. */
  readonly train: FeatureSet;
  readonly validation: FeatureSet;
  /** Images that make an epoch: the training images, of which `train` may hold several views. */
  readonly imagesPerEpoch: number;
  /** (classes), 1 where a class has training images. */
  readonly isPictured: Uint8Array;
  /** Classes whose logits a training computes, ascending: see {@link classesInPlay}. */
  readonly inPlay: Int32Array;
  readonly epochs: number;
  readonly seed: number;
  readonly signal: AbortSignal;
}

const keptMass = 0.995; // of the generalist's predictions
const massNumbers = 2 ** 26; // probabilities that are added up to find it
const batchSize = 256;
const leastSteps = 50; // of an epoch: so few images that they make fewer come several times
const patience = 2; // epochs without a lower validation loss
const stoppingExamples = 4096; // that it is measured on
export const chunkRows = 128; // images whose logits are in memory together

/**
 * The classes that a training of a head has to compute: those with images, and the fewest others that hold 99.5% of the
 * mass that the generalist's predictions for training images have. What lies outside them keeps the generalist's
 * weights, as the softmax would hardly move it, and a training over many classes costs a fraction.
 *
 * @returns ascending; labels of training and validation are among them
 */
export async function classesInPlay(context: Omit<HeadContext, 'inPlay'>): Promise<Int32Array> {
  const { head, train, validation, isPictured } = context;
  const { classes } = head;
  const mass = new Float64Array(classes);
  const rows = Math.max(256, Math.floor(massNumbers / classes)); // shuffled: the first are any
  await eachOfHead(
    context,
    sliceRows(train, 0, rows),
    ({ logits: probabilities }) => {
      for (let at = 0; at < probabilities.length; at += classes)
        for (let c = 0; c < classes; c++) mass[c] += probabilities[at + c];
    },
    (logits) => context.operations.softmax(logits),
  );
  const isInPlay = Uint8Array.from(isPictured);
  for (const { labels } of [train, validation]) for (const label of labels) isInPlay[label] = 1;
  let missing = keptMass * mass.reduce((sum, one) => sum + one, 0);
  for (const [label, one] of isInPlay.entries()) missing -= one * mass[label];
  for (const label of Int32Array.from(mass.keys()).sort((a, b) => mass[b] - mass[a] || a - b)) {
    if (missing <= 0) break;
    if (isInPlay[label] === 1) continue;
    isInPlay[label] = 1;
    missing -= mass[label];
  }
  return Int32Array.from(isInPlay.keys()).filter((label) => isInPlay[label] === 1);
}

/** Trained numbers on the generalist's features, and the logits that they make. */
export interface TrainedHead {
  readonly variables: readonly Variable[];
  /** Of Adam at the first step; it falls to 0. */
  readonly rate: number;
  logits(features: Tensor2D): Tensor2D;
  /** Multiplications and additions of `logits` for an image. */
  readonly flops: number;
}

/** What a training took. */
export interface FitCost {
  readonly seconds: number;
  readonly flops: number;
  /** Mean cross-entropy on validation, in nats: before it, and of the weights that were kept. */
  readonly firstLoss: number;
  readonly loss: number;
}

/**
 * Fits numbers to the labels of the training images by Adam, from where they begin, and keeps those of the epoch with
 * the lowest loss on validation: those of the beginning where none is lower.
 *
 * @throws KdSpecError `interrupted`
 *
 * Cost: `epochs` passes over the images at most.
 */
export async function fitHead(
  model: TrainedHead,
  { operations, train, validation, imagesPerEpoch, epochs, seed, signal }: HeadContext,
): Promise<FitCost> {
  const { variables } = model;
  const started = performance.now();
  const moments = variables.map((variable): AdamMoments => {
    const zeros = () => operations.variable(new Float32Array(variable.size), variable.shape);
    return { first: zeros(), second: zeros() };
  });
  const stepsPerEpoch = Math.max(leastSteps, Math.ceil(imagesPerEpoch / batchSize));
  const values = () => Promise.all(variables.map((variable) => operations.read(variable)));
  const firstLoss = await meanLoss(operations, model, validation);
  let [loss, best, sinceBest, step] = [firstLoss, await values(), 0, 0];
  const order = createRandom(seed, 'rivals');
  let rows: readonly number[] = [];
  let taken = 0; // of the rows
  try {
    for (let epoch = 0; epoch < epochs && sinceBest < patience; epoch++) {
      for (let inEpoch = 0; inEpoch < stepsPerEpoch; inEpoch++) {
        if (signal.aborted) throw new KdSpecError('interrupted', 'stopped while a layer was trained');
        if (taken >= rows.length) {
          const all = [...Array(train.rows).keys()];
          order.shuffle(all);
          rows = all;
          taken = 0;
        }
        const batch = takeRows(train, rows.slice(taken, taken + batchSize));
        taken += batchSize;
        const learningRate = model.rate * (1 - step / (epochs * stepsPerEpoch));
        step++;
        operations.tidy(() => {
          const features = operations.tensor(batch.features, [batch.rows, batch.width] as const);
          const labels = operations.tensor(batch.labels, [batch.rows] as const);
          const { gradients } = operations.valueAndGradients(
            () => operations.softmaxCrossEntropy(model.logits(features), labels),
            variables,
          );
          for (const [index, variable] of variables.entries())
            operations.adamWStep(variable, gradients[index], moments[index], { learningRate, step });
        });
        await new Promise(setImmediate); // Ctrl-C
      }
      const found = await meanLoss(operations, model, validation);
      sinceBest++;
      if (found < loss) [loss, best, sinceBest] = [found, await values(), 0];
    }
    for (const [index, variable] of variables.entries()) operations.assign(variable, best[index]);
  } finally {
    operations.dispose(moments.flatMap(({ first, second }) => [first, second]));
  }
  const seconds = (performance.now() - started) / 1000;
  return { seconds, flops: trainingFlopsFactor * model.flops * step * batchSize, firstLoss, loss };
}

function takeRows({ features, labels, width }: FeatureSet, rows: readonly number[]): FeatureSet {
  const taken = new Float32Array(rows.length * width);
  for (const [place, row] of rows.entries())
    taken.set(features.subarray(row * width, (row + 1) * width), place * width);
  return {
    features: taken,
    labels: Int32Array.from(rows, (row) => labels[row]),
    rows: rows.length,
    width,
  };
}

/** Consecutive rows, without a copy. */
export function sliceRows(
  { features, labels, width, rows }: FeatureSet,
  from: number,
  to: number,
): FeatureSet {
  const end = Math.min(to, rows);
  return {
    features: features.subarray(from * width, end * width),
    labels: labels.subarray(from, end),
    rows: end - from,
    width,
  };
}

async function meanLoss(operations: Operations, model: TrainedHead, set: FeatureSet): Promise<number> {
  const examples = Math.min(set.rows, stoppingExamples);
  let sum = 0;
  for (let start = 0; start < examples; start += chunkRows) {
    const chunk = sliceRows(set, start, Math.min(start + chunkRows, examples));
    const loss = operations.tidy(() =>
      operations.softmaxCrossEntropy(
        model.logits(operations.tensor(chunk.features, [chunk.rows, chunk.width] as const)),
        operations.tensor(chunk.labels, [chunk.rows] as const),
      ),
    );
    const [value] = await operations.read(loss);
    loss.dispose();
    sum += value * chunk.rows;
  }
  return sum / Math.max(1, examples);
}

/** Computes logits of images, some at a time; `each` gets those of consecutive ones, (chunk, classes of the logits). */
export async function eachChunk(
  { operations, signal }: Pick<HeadContext, 'operations' | 'signal'>,
  set: FeatureSet,
  logitsOf: TrainedHead['logits'],
  each: (chunk: { readonly start: number; readonly logits: Float32Array }) => void,
): Promise<void> {
  for (let start = 0; start < set.rows; start += chunkRows) {
    if (signal.aborted) throw new KdSpecError('interrupted', 'stopped while layers were compared');
    const { features, rows, width } = sliceRows(set, start, start + chunkRows);
    const result = operations.tidy(() => logitsOf(operations.tensor(features, [rows, width] as const)));
    const logits = await operations.read(result);
    result.dispose();
    each({ start, logits });
    await new Promise(setImmediate);
  }
}

/** Runs the generalist's head over images, as {@link eachChunk} does; `each` gets what `of` makes of the logits. */
export async function eachOfHead(
  { operations, head, signal }: Pick<HeadContext, 'operations' | 'head' | 'signal'>,
  set: FeatureSet,
  each: (chunk: { readonly start: number; readonly logits: Float32Array }) => void,
  of: (logits: Tensor2D) => Tensor2D = (logits) => logits,
): Promise<void> {
  const weights = operations.tensor(head.weights, [head.width, head.classes] as const);
  const bias = operations.tensor(head.bias, [head.classes] as const);
  const logitsOf = (features: Tensor2D) =>
    of(operations.dense(features, weights, bias, { inputGradient: false }));
  try {
    await eachChunk({ operations, signal }, set, logitsOf, each);
  } finally {
    operations.dispose([weights, bias]);
  }
}

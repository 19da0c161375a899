import type { AdamMoments, Operations, Tensor2D, Variable } from '../../compute/operations.js';
import { KdSpecError } from '../../core/errors.js';
import { createRandom, derivedSeed } from '../../core/random.js';
import { trainingFlopsFactor } from '../../models/network-definition.js';
import { emptyLeaders, type FeatureSet, lead, type Rival, shifts } from './rival.js';

/** A generalist's head on standardised features: mean 0 and deviation 1 over the training images. */
export interface Head {
  /** (width, classes). */
  readonly weights: Float32Array;
  /** (classes). */
  readonly bias: Float32Array;
  readonly width: number;
  readonly classes: number;
}

/** Means and deviations of features, by which they are standardised. */
export interface Scale {
  /** (width). */
  readonly mean: Float32Array;
  readonly deviation: Float32Array;
}

/** The scale of some features; one that is constant keeps a deviation of 1. */
export function scaleOf({ features, rows, width }: FeatureSet): Scale {
  const mean = new Float64Array(width);
  const square = new Float64Array(width);
  for (let at = 0; at < rows * width; at++) mean[at % width] += features[at] / rows;
  for (let at = 0; at < rows * width; at++)
    square[at % width] += (features[at] - mean[at % width]) ** 2 / rows;
  return {
    mean: Float32Array.from(mean),
    deviation: Float32Array.from(square, (value) => (value > 1e-12 ? Math.sqrt(value) : 1)),
  };
}

/** `(x - mean) / deviation`, in place. */
export function standardise({ features, width }: FeatureSet, { mean, deviation }: Scale): void {
  for (let at = 0; at < features.length; at++)
    features[at] = (features[at] - mean[at % width]) / deviation[at % width];
}

/** The head that gives standardised features the logits that the old one gave the features: `W' = d W, b' = b + m W`. */
export function standardisedHead(head: Head, { mean, deviation }: Scale): Head {
  const { width, classes } = head;
  const weights = new Float32Array(head.weights.length);
  const bias = Float64Array.from(head.bias);
  for (let feature = 0; feature < width; feature++)
    for (let label = 0; label < classes; label++) {
      const weight = head.weights[feature * classes + label];
      weights[feature * classes + label] = deviation[feature] * weight;
      bias[label] += mean[feature] * weight;
    }
  return { width, classes, weights, bias: Float32Array.from(bias) };
}

/** What all rivals work on. */
export interface RivalContext {
  readonly operations: Operations;
  readonly head: Head;
  /** Images of the classes with data, standardised. */
  readonly train: FeatureSet;
  readonly validation: FeatureSet;
  /** Images that make an epoch: the training images, of which `train` may hold several views. */
  readonly imagesPerEpoch: number;
  /** (classes), 1 where a class has training images. */
  readonly isPictured: Uint8Array;
  readonly epochs: number;
  readonly seed: number;
  readonly signal: AbortSignal;
}

const batchSize = 256;
const leastSteps = 50; // of an epoch: so few images that they make fewer come several times
const patience = 2; // epochs without a lower validation loss
const stoppingExamples = 4096; // that it is measured on
const chunkRows = 128; // whose logits are in memory together

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
  { operations, train, validation, imagesPerEpoch, epochs, seed, signal }: RivalContext,
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
  try {
    for (let epoch = 0; epoch < epochs && sinceBest < patience; epoch++) {
      for (let inEpoch = 0; inEpoch < stepsPerEpoch; inEpoch++) {
        if (signal.aborted) throw new KdSpecError('interrupted', 'stopped while rivals were trained');
        if (rows.length === 0) {
          const all = [...Array(train.rows).keys()];
          order.shuffle(all);
          rows = all;
        }
        const batch = takeRows(train, rows.slice(0, batchSize));
        rows = rows.slice(batchSize);
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

/** Runs the generalist's head, and another, over images some at a time. */
export async function eachChunk(
  { operations, head, signal }: RivalContext,
  set: FeatureSet,
  other: TrainedHead | undefined,
  each: (chunk: {
    readonly start: number;
    readonly logits: Float32Array;
    readonly others: Float32Array;
  }) => void,
): Promise<void> {
  const weights = operations.tensor(head.weights, [head.width, head.classes] as const);
  const bias = operations.tensor(head.bias, [head.classes] as const);
  try {
    for (let start = 0; start < set.rows; start += chunkRows) {
      if (signal.aborted) throw new KdSpecError('interrupted', 'stopped while rivals were compared');
      const chunk = sliceRows(set, start, start + chunkRows);
      const results = operations.tidy(() => {
        const features = operations.tensor(chunk.features, [chunk.rows, chunk.width] as const);
        const own = operations.dense(features, weights, bias, { inputGradient: false });
        return other === undefined ? [own] : [own, other.logits(features)];
      });
      const [logits, others = logits] = await Promise.all(results.map((one) => operations.read(one)));
      operations.dispose(results);
      each({ start, logits, others });
      await new Promise(setImmediate);
    }
  } finally {
    operations.dispose([weights, bias]);
  }
}

const flopsOf = (inputs: number, units: number) => 2 * inputs * units;

/** The head as it is, with what is trained beside it or in its place. */
type Kind = 'bias' | 'refitted' | 'hidden' | 'adapter';

const hiddenUnits = 64;
const adapterRank = 16;
// On standardised features. A bias moves its logit by as much as itself, a weight by as many times as there are features.
const rates: Readonly<Record<Kind, number>> = { bias: 0.03, refitted: 1e-3, hidden: 1e-3, adapter: 3e-3 };

function buildHead(kind: Kind, { operations, head, seed }: RivalContext): TrainedHead & { dispose(): void } {
  const { width, classes } = head;
  const random = createRandom(derivedSeed(seed), 'rivals', kind);
  const normal = (inputs: number, units: number, gain: number) =>
    operations.variable(
      Float32Array.from({ length: inputs * units }, () => Math.sqrt(gain / inputs) * random.normal()),
      [inputs, units] as const,
    );
  const zeros = (inputs: number, units: number) =>
    operations.variable(new Float32Array(inputs * units), [inputs, units] as const);
  const own = flopsOf(width, classes);
  const isFrozen = kind === 'bias' || kind === 'adapter';
  const bias = operations.variable(head.bias, [classes] as const);
  const weights = operations.variable(head.weights, [width, classes] as const);
  const all: Variable[] = [weights, bias];
  const made = (
    trained: readonly Variable[],
    flops: number,
    logits: (features: Tensor2D) => Tensor2D,
  ): TrainedHead & { dispose(): void } => ({
    variables: trained,
    rate: rates[kind],
    logits,
    flops,
    dispose: () => operations.dispose([...all]),
  });
  const dense = (features: Tensor2D) =>
    operations.dense(features, weights, bias, { inputGradient: isFrozen && kind === 'adapter' });
  switch (kind) {
    case 'bias':
      return made([bias], own, dense);
    case 'refitted':
      return made([weights, bias], own, dense);
    case 'hidden': {
      const [into, offset, out] = [
        normal(width, hiddenUnits, 2),
        operations.variable(new Float32Array(hiddenUnits), [hiddenUnits] as const),
        zeros(hiddenUnits, classes),
      ];
      all.push(into, offset, out);
      const flops = own + flopsOf(width, hiddenUnits) + flopsOf(hiddenUnits, classes);
      return made([weights, bias, into, offset, out], flops, (features) => {
        const hidden = operations.relu(operations.dense(features, into, offset, { inputGradient: false }));
        return operations.add(dense(features), operations.dense(hidden, out, undefined));
      });
    }
    case 'adapter': {
      const rank = Math.min(adapterRank, width);
      const [down, up] = [normal(width, rank, 1), zeros(rank, width)];
      all.push(down, up);
      return made([down, up], own + flopsOf(width, rank) + flopsOf(rank, width), (features) => {
        const low = operations.dense(features, down, undefined, { inputGradient: false });
        return dense(operations.add(features, operations.dense(low, up, undefined)));
      });
    }
  }
}

const kinds = {
  bias: 'the bias of every class refitted on the images, weights as they are',
  refitted: 'the head refitted on the images, from the weights of the generalist',
  hidden: `the head refitted together with a hidden layer of ${hiddenUnits} units for all classes`,
  adapter: `a low-rank adapter of the features (rank ${adapterRank}) before the generalist's head`,
} as const satisfies Readonly<Record<Kind, string>>;

const shares = [0.1, 0.25, 0.5, 0.75, 1];

/**
 * Trains a head, and makes of it the rivals that can be had of it: as it is, or mixed with the original.
 *
 *     z = (1 - share) z_generalist + share z_trained,   the classes with images raised by the shift
 *
 * @returns of a refitted head two rivals, otherwise one; `dispose` frees what was trained
 */
export async function trainRivals(
  kind: Kind,
  context: RivalContext,
): Promise<{ readonly rivals: readonly Rival[]; readonly fit: FitCost; dispose(): void }> {
  const model = buildHead(kind, context);
  try {
    const fit = await fitHead(model, context);
    const cost = {
      flops: model.flops,
      parameters: model.variables.reduce((sum, { size }) => sum + size, 0),
      trainingSeconds: fit.seconds,
      trainingFlops: fit.flops,
    };
    const leaders: Rival['leaders'] = async (set, variants) => {
      const found = variants.map(() => emptyLeaders(set.rows));
      const { classes } = context.head;
      const mixed = new Float32Array(classes);
      await eachChunk(context, set, model, ({ start, logits, others }) => {
        for (let at = 0, row = start; at < logits.length; at += classes, row++)
          for (const [place, { share = 1 }] of variants.entries()) {
            for (let c = 0; c < classes; c++)
              mixed[c] = (1 - share) * logits[at + c] + share * others[at + c];
            lead(found[place], row, mixed, context.isPictured);
          }
      });
      return found;
    };
    const blended: Rival = {
      name: kind === 'refitted' ? 'interpolated' : kind,
      what:
        kind === 'refitted'
          ? 'the refitted head mixed with the original, the classes with images raised or lowered'
          : `${kinds[kind]}, mixed with the original`,
      variants: shares.map((share) => ({ share })),
      shifts,
      cost,
      leaders,
    };
    const plain: Rival = { ...blended, name: kind, what: kinds[kind], variants: [{ share: 1 }], shifts: [0] };
    return {
      rivals: kind === 'refitted' ? [plain, blended] : [blended],
      fit,
      dispose: () => model.dispose(),
    };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** The generalist as it is, and with one number that raises or lowers the classes with images: their prior. */
export function generalistRivals(context: RivalContext): { readonly plain: Rival; readonly prior: Rival } {
  const { head, isPictured } = context;
  const flops = flopsOf(head.width, head.classes);
  const none = { flops, parameters: 0, trainingSeconds: 0, trainingFlops: 0 };
  const leaders: Rival['leaders'] = async (set, variants) => {
    const found = emptyLeaders(set.rows);
    await eachChunk(context, set, undefined, ({ start, logits }) => {
      for (let at = 0, row = start; at < logits.length; at += head.classes, row++)
        lead(found, row, logits.subarray(at, at + head.classes), isPictured);
    });
    return variants.map(() => found);
  };
  const plain: Rival = {
    name: 'generalist',
    what: 'the model as it is',
    variants: [{}],
    shifts: [0],
    cost: none,
    leaders,
  };
  return {
    plain,
    prior: {
      ...plain,
      name: 'prior',
      what: 'one number that raises or lowers all classes with images against the others',
      shifts,
      cost: { ...none, parameters: 1 },
    },
  };
}

import { rm } from 'node:fs/promises';
import { assert, KdSpecError } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import { createRandom, derivedSeed } from '../../core/random.js';
import type { Dataset } from '../../data/dataset.js';
import {
  createFeatureScale,
  type FeatureScale,
  type Layer,
  plainLayer,
  standardise,
  standardisedLayer,
} from '../../models/feature-scale.js';
import { type Network, networkValues } from '../../models/network.js';
import {
  forwardFlops,
  hiddenFeatures,
  type NetworkDefinition,
  type NetworkPart,
  trainingFlopsPerImage,
} from '../../models/network-definition.js';
import { checkpointsFolder } from '../../training/checkpoints.js';
import { Optimizer } from '../../training/optimizer.js';
import { planTraining, type TrainingOptions } from '../../training/plan.js';
import { type TrainingBatch, train } from '../../training/train.js';
import type { Subset } from '../subsets/subsets.js';
import { type AnchorMaker, featuresFolder } from './cached-features.js';
import { dustbinAnchor, dustbinCorrection } from './dustbin.js';
import type { SpecialistView } from './examples.js';
import { collapseGeneralist, firstNetwork } from './first-network.js';
import type { SharedFeatures } from './shared-features.js';
import { outsiderMasses } from './shared-features.js';
import { softTargets } from './soft-targets.js';
import {
  firstTrainedPart,
  outputsByClass,
  type Retrain,
  type SpecialistConfig,
  type SpecialistHead,
  saveSpecialist,
} from './specialist.js';
import { specialistInput } from './specialist-input.js';

/** How specialists are trained; an epoch is a pass over the special examples, over few of them several. */
export interface SpecialistTraining extends Omit<TrainingOptions, 'maxNorm'> {
  readonly retrain: Retrain;
  /** `full` and `anchored` need cached features: what the generalist predicts for them is computed beforehand. */
  readonly head: SpecialistHead;
  /** Units of each dense layer, none fewer than the generalist's; null: the generalist's. */
  readonly dense: readonly number[] | null;
  /** Share of each batch that is special; the paper's is a half. */
  readonly specialFraction: number;
  /** For `head` and `top`: how often each example is augmented and its features cached. */
  readonly views: number;
  /** For `head` and `top`: share of the outsiders that is drawn by the generalist's mass on the subset. */
  readonly routedShare: number;
  /** For `head` and `top`: how much the generalist's own predictions count as soft targets beside the labels. */
  readonly softShare: number;
  readonly checkpointSeconds: number;
}

/** What a specialist is made of. */
export interface SpecialistIngredients {
  readonly subset: Subset;
  readonly generalist: Network;
  readonly dataset: Dataset;
  /** Examples of each class in the training split, and among the bystanders that teach dustbins, (classes). */
  readonly labelCounts: Int32Array;
  /** For `head` and `top`: what the frozen parts make of the training images. */
  readonly features: SharedFeatures | undefined;
}

const scaledBatches = 1024; // whose features tell their scale, at most
const leastScaledSteps = 50; // of an epoch: so few images that they make fewer come several times
const leastDeviation = 0.01; // of a feature, in root mean squares of all
const ratedWidth = 128; // features for which a learning rate is meant
const sampleBatches = 16; // batches, at most, from which the dustbin's row is fitted
const sampleValues = 3e7; // logits of the generalist, over all of them
const examplesPerWeight = 4; // of the row, at least, where that leaves too few examples

/**
 * Trains the specialist of one subset (section 5.2) and saves it in `directory`.
 *
 * Its network is the generalist's, its head the subset's rows and a dustbin row from which the first prediction
 * equals the generalist's as nearly as a row can, or exactly where it is anchored; or all the rows, from which it
 * equals it exactly (section 6). A stated share of every batch is special. The dustbin correction follows from example
 * counts, and is subtracted from the first bias of what lies outside the subset, since training sees the over-sampled
 * distribution. An anchored head that trains alone is trained on scaled features, as those of a foreign model have any
 * scale. An unfinished training in `directory` is continued.
 *
 * Where no example of another class has a label, as when the subset is all that a foreign model has images of, every
 * example is special and the dustbin learns nothing: its correction is 0, and only a rule that uses no dustbin may fuse
 * what the specialist predicts.
 *
 * @returns the final configuration with the mean loss of the last epoch, and the seconds and operations of training
 * @throws KdSpecError `subsets-invalid` when the subset has no training example or leaves no class out; `interrupted`;
 * `training-diverged`
 */
export async function trainSpecialist(
  { subset, generalist, dataset, labelCounts, features: shared }: SpecialistIngredients,
  training: SpecialistTraining,
  { directory, log, signal }: { directory: string; log: Log; signal: AbortSignal },
): Promise<{ config: SpecialistConfig; loss: number; seconds: number; flops: number }> {
  const { retrain, head, epochs, batchSize, seed } = training;
  const { id, classes } = subset;
  const view = viewOf(subset, dataset, labelCounts, seed);
  const hasOthers = view.otherExamples > 0;
  const specialPerBatch = hasOthers
    ? Math.min(batchSize - 1, Math.max(1, Math.round(batchSize * training.specialFraction)))
    : batchSize;
  const correction = hasOthers
    ? dustbinCorrection({
        specialExamples: view.specialExamples,
        otherExamples: view.otherExamples,
        sampledSpecialFraction: specialPerBatch / batchSize,
      })
    : 0;

  const outputOf = outputsByClass(head, classes, generalist.definition.outputs);
  const from = firstTrainedPart[retrain];
  const isHeadAlone = from === 'head' || (training.dense ?? generalist.definition.dense).length === 0;
  const isScaled = head === 'anchored' && isHeadAlone;
  const stepsPerEpoch = Math.max(
    isScaled ? leastScaledSteps : 1,
    Math.round(view.specialExamples / specialPerBatch),
  );
  const totalSteps = epochs * stepsPerEpoch;
  const masses =
    shared && hasOthers && training.routedShare > 0
      ? await outsiderMasses(shared, view.isSpecial, training.routedShare)
      : undefined;
  await using batches = specialistInput(view, {
    batchSize,
    specialPerBatch,
    classes,
    directory,
    from,
    batches: totalSteps,
    shared,
    masses,
    soft: softTargets(training, { classes, outputOf, correction, masses }),
    anchor: head === 'anchored' ? anchorsOf(generalist, classes, from) : undefined,
    signal,
  });
  const { network, divergence, sampled } = await firstNetwork(training, generalist, classes, {
    correction,
    sample: () => batches.sample(batchesToSample(generalist.definition, batchSize)),
    random: createRandom(view.seed, 'wider'),
  });

  const scale = isScaled ? await scaleOfBatches(batches.sample(scaledBatches)) : undefined;
  if (scale) await replaceHead(network, (layer) => standardisedLayer(layer, scale));
  const plan = planTraining(training, {
    stepsPerEpoch,
    from,
    batches: (epoch, skip) => prepared(batches.after(epoch * stepsPerEpoch + skip), outputOf, scale),
  });

  const optimizer = new Optimizer(training.optimizer, network, from);
  try {
    const { loss, state } = await train(network, optimizer, plan, {
      directory,
      log,
      signal,
      label: `specialist ${id}`,
      checkpointSeconds: training.checkpointSeconds,
    });
    if (scale) await replaceHead(network, (layer) => plainLayer(layer, scale));
    const config: SpecialistConfig = {
      kind: 'specialist',
      id,
      classes,
      head,
      retrain,
      network: network.definition,
      dustbin: {
        specialExamples: view.specialExamples,
        otherExamples: view.otherExamples,
        sampledSpecialFraction: specialPerBatch / batchSize,
        correction,
        ...(masses && { routed: { share: masses.share, meanMass: masses.meanMass } }),
      },
      firstDivergence: divergence,
    };
    await saveSpecialist(directory, { config, values: await networkValues(network) });
    await rm(checkpointsFolder(directory), { recursive: true, force: true });
    await rm(featuresFolder(directory), { recursive: true, force: true });
    const passes = shared === undefined ? 0 : (view.specialExamples * shared.views) / specialPerBatch;
    const anchored = head === 'anchored' ? Math.ceil(passes) * batchSize : 0;
    const flops =
      (sampled + anchored) * forwardFlops(generalist.definition, { from }) +
      totalSteps * batchSize * trainingFlopsPerImage(network.definition, { from });
    return { config, loss, seconds: state.seconds, flops };
  } finally {
    optimizer.dispose();
    network.dispose();
  }
}

/** The anchors of examples as the generalist's lower parts made them. */
function anchorsOf(generalist: Network, classes: readonly number[], from: NetworkPart): AnchorMaker {
  async function* once(inputs: Float32Array, rows: number) {
    yield { inputs, shape: [rows, inputs.length / rows] as const };
  }
  return async (features, rows) => {
    const { inside, outside } = await collapseGeneralist(generalist, once(features, rows), classes, from);
    return outside.map((value, row) => {
      const most = Math.max(value, inside[row]);
      const sum = most + Math.log(Math.exp(value - most) + Math.exp(inside[row] - most));
      return dustbinAnchor(sum, 1 - Math.exp(value - sum));
    });
  };
}

/** From how many batches the dustbin's row is fitted: fewer, where the generalist has very many classes to predict. */
function batchesToSample(generalist: NetworkDefinition, batchSize: number): number {
  const affordable = sampleValues / generalist.outputs;
  const needed = examplesPerWeight * (hiddenFeatures(generalist) + 1);
  return Math.min(sampleBatches, Math.ceil(Math.max(affordable, needed) / batchSize));
}

/**
 * How many training examples a specialist has of its own classes, and of others: none of others where the subset is all
 * that there are examples of.
 *
 * @param labelCounts (classes)
 * @throws KdSpecError `subsets-invalid` where it has none of its own, or its classes are all that the generalist knows
 */
export function countExamples(
  { id, classes }: Subset,
  labelCounts: Int32Array,
): { readonly specialExamples: number; readonly otherExamples: number } {
  const members = new Set(classes);
  let specialExamples = 0;
  for (const label of members) specialExamples += labelCounts[label];
  const examples = labelCounts.reduce((sum, count) => sum + count, 0);
  const otherExamples = examples - specialExamples;
  if (specialExamples === 0) {
    throw new KdSpecError(
      'subsets-invalid',
      `subset ${id} (${members.size} classes) holds 0 of the ${examples} training examples, and a specialist learns from ` +
        'those of its own classes: cluster into other subsets',
    );
  }
  if (members.size === labelCounts.length) {
    throw new KdSpecError(
      'subsets-invalid',
      `subset ${id} holds all ${members.size} classes, and a specialist tells its classes from the others: cluster into ` +
        'other subsets',
    );
  }
  return { specialExamples, otherExamples };
}

function viewOf(subset: Subset, dataset: Dataset, labelCounts: Int32Array, seed: number): SpecialistView {
  const members = new Set(subset.classes);
  return {
    ...countExamples(subset, labelCounts),
    dataset,
    isSpecial: (label) => members.has(label),
    // Every specialist draws its own examples.
    seed: derivedSeed(seed, subset.id),
  };
}

/** Batches with outputs of the network for labels, and where there is a scale with scaled features. */
async function* prepared(
  batches: AsyncIterable<TrainingBatch>,
  outputOf: Int32Array,
  scale: FeatureScale | undefined,
): AsyncGenerator<TrainingBatch> {
  for await (const batch of batches) {
    const inputs = scale ? batch.inputs.slice() : batch.inputs;
    if (scale) standardise({ features: inputs, width: scale.mean.length }, scale);
    yield { ...batch, inputs, labels: batch.labels.map((label) => outputOf[label]) };
  }
}

/**
 * The scale of the features of some batches, for the training of a head.
 *
 * A step of Adam moves every weight by about the rate, and so a logit by the rate times the sum of the features' sizes.
 * Their deviation becomes `ratedWidth / width`, so that a rate moves logits alike whatever the number of features. Their
 * mean becomes the same instead of 0: a bias, one number, would hardly move, and so all weights move with it. A feature
 * that hardly varies is not blown up to the size of the others: where it did vary, its weights would decide all.
 *
 * Source: Yang et al., Tensor Programs V, arXiv 2203.03466, where the rate of Adam on output weights is in proportion to
 * one over their number of inputs.
 */
async function scaleOfBatches(batches: AsyncIterable<TrainingBatch>): Promise<FeatureScale> {
  let scale: ReturnType<typeof createFeatureScale> | undefined;
  for await (const { inputs, shape } of batches) {
    scale ??= createFeatureScale(inputs.length / shape[0]);
    scale.add(inputs);
  }
  assert(scale !== undefined, 'a specialist has at least a batch of examples');
  const { mean, deviation } = scale.finish();
  const squares = deviation.reduce((sum, value) => sum + value * value, 0);
  const least = leastDeviation * Math.sqrt(squares / deviation.length);
  const bounded = deviation.map((value) => Math.max(value, least));
  return {
    mean: mean.map((value, feature) => value - bounded[feature]),
    deviation: bounded.map((value) => (value * bounded.length) / ratedWidth),
  };
}

/** Changes the weights of a network's head in place. */
async function replaceHead(network: Network, change: (layer: Layer) => Layer): Promise<void> {
  const { operations } = network;
  const [weights, bias] = [network.variable('head.weights'), network.variable('head.bias')];
  const changed = change({ weights: await operations.read(weights), bias: await operations.read(bias) });
  operations.assign(weights, changed.weights);
  operations.assign(bias, changed.bias);
}

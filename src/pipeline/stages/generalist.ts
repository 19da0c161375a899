import { copyFile, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { selectBackend } from '../../compute/backend.js';
import { createPause } from '../../core/pause.js';
import { createRandom } from '../../core/random.js';
import { imageBatches } from '../../data/batches.js';
import { type Dataset, openDataset } from '../../data/dataset.js';
import { classesName } from '../../data/dataset-files.js';
import { logSumExp } from '../../math/softmax.js';
import { createAccuracy } from '../../models/accuracy.js';
import { checkpointFiles, writeConfig } from '../../models/checkpoint.js';
import { createNetwork, expectRoom, type Network } from '../../models/network.js';
import { chunkSize } from '../../models/network-classifier.js';
import {
  copyingNetwork,
  countParameters,
  forwardFlops,
  type NetworkDefinition,
  networkOn,
  trainingFlopsPerImage,
} from '../../models/network-definition.js';
import { runNetwork } from '../../models/run-network.js';
import { writeSafetensors } from '../../models/safetensors.js';
import { openBatchesAhead } from '../../training/batches-ahead.js';
import { checkpointsFolder, writeTraining } from '../../training/checkpoints.js';
import { imageSource } from '../../training/image-batches.js';
import { readMetrics } from '../../training/metrics-log.js';
import { Optimizer } from '../../training/optimizer.js';
import { planTraining } from '../../training/plan.js';
import { train } from '../../training/train.js';
import { trainingTrial } from '../../training/trial.js';
import type { StageContext } from '../stage.js';
import type { StageResults } from '../stage-metrics.js';

const curveExamples = 5000; // of validation, looked at by each check: about 0.7% standard error
const leastCurveExamples = 500; // of them, where there are so many classes that more would take minutes
const curveValues = 2e8; // logits of a check
const temperatures = [0.7, 1, 1.25, 1.6, 2]; // near enough to any: the loss is flat around its least
const stepsPerCheck = 1000; // at most, with early stopping: a check costs about 13 steps of 128 images

/** Trains the generalist on the training part of the data set. */
export async function trainGeneralist(context: StageContext): Promise<StageResults['generalist']> {
  const { settings, directory, log, signal } = context;
  const { generalist: options } = settings;
  const seed = options.seed ?? settings.seed;
  const dataset = await openDataset(context.input('dataset'));
  const { splits, image, classes } = dataset;
  if (image.logits !== undefined) return takeLogits(context, dataset);

  const definition = networkOn(image, options.network, classes.length);
  const { batchSize, epochs } = options;
  const { sampled } = options.head;
  const sampledClasses = sampled === null || sampled >= classes.length ? undefined : sampled;
  const trial = trainingTrial(
    { ...definition, outputs: sampledClasses ?? definition.outputs },
    { batchSize, optimizer: options.optimizer },
  );
  const { name: backend, operations } = await selectBackend(settings.backend, { trial });
  context.usesBackend(backend);
  expectRoom(backend, valuesInTraining(definition, { batchSize, sampledClasses }), {
    what: `training a generalist of ${classes.length.toLocaleString('en')} classes in batches of ${batchSize}`,
    advice:
      sampledClasses === undefined
        ? `give --sampled-head ${Math.min(8 * batchSize, classes.length)}, which computes some of the classes a step, or a smaller --batch-size`
        : 'give narrower dense layers, or --backend tensorflow',
  });
  const network = createNetwork(operations, definition, createRandom(seed, 'generalist'));
  const optimizer = new Optimizer(options.optimizer, network, 'convolutions', {
    sampledHead: sampledClasses !== undefined,
  });
  const stepsPerEpoch = Math.ceil(splits.train.rows / batchSize);
  const { patience } = options;
  await using batches = await openBatchesAhead(
    imageSource,
    { directory: dataset.directory, seed, purpose: 'generalist', batchSize, isAugmented: options.augment },
    { epochs, examples: epochs * splits.train.rows },
  );

  const plan = planTraining(
    { ...options, seed },
    {
      stepsPerEpoch,
      from: 'convolutions',
      stopping: patience === null ? undefined : { patience, stepsPerCheck },
      sampledClasses,
      batches: (epoch, skip) => batches.batches(epoch, skip),
    },
  );
  try {
    const { loss, state, steps, seconds } = await train(network, optimizer, plan, {
      directory,
      log,
      signal,
      label: 'generalist',
      checkpointSeconds: options.checkpointSeconds,
      validate: () => validate(network, dataset),
    });
    await writeTraining(directory, network, optimizer, state);
    await writeConfig(directory, { kind: 'generalist', network: definition });
    await copyFile(join(dataset.directory, classesName), join(directory, classesName));
    await rm(checkpointsFolder(directory), { recursive: true, force: true });
    const epochsDone = steps / stepsPerEpoch;
    const kept = (await readMetrics(join(directory, 'metrics.jsonl'))).find(
      ({ step }) => step === state.step,
    );
    return {
      epochs: epochsDone,
      keptEpoch: state.step / stepsPerEpoch,
      steps,
      loss,
      parameters: countParameters(definition),
      flopsPerImage: forwardFlops(definition),
      trainingFlops: trainingFlopsPerImage(definition, { sampledClasses }) * epochsDone * splits.train.rows,
      trainingSeconds: seconds,
      ...(kept?.validationTop1 !== undefined &&
        kept.validationLoss !== undefined && {
          validation: { top1: kept.validationTop1, negativeLogLikelihood: kept.validationLoss },
        }),
    };
  } finally {
    optimizer.dispose();
    network.dispose();
  }
}

/** How many numbers a backend holds in a step, about: with a sampled softmax, the head's moments are not among them. */
function valuesInTraining(
  definition: NetworkDefinition,
  { batchSize, sampledClasses }: { readonly batchSize: number; readonly sampledClasses: number | undefined },
): number {
  const stepped = { ...definition, outputs: sampledClasses ?? definition.outputs };
  const ofWeights = 4 * countParameters(stepped); // themselves, their gradients, and two moments of each
  const ofLogits = 3 * batchSize * stepped.outputs; // logits, exponentials, gradients
  return ofWeights + ofLogits + (sampledClasses === undefined ? 0 : countParameters(definition));
}

/** Makes the logits that stand beside features the generalist: a head that copies them. Nothing is trained. */
async function takeLogits(
  { directory, log }: StageContext,
  dataset: Dataset,
): Promise<StageResults['generalist']> {
  const { image, classes, splits } = dataset;
  const outputs = classes.length;
  const definition = networkOn(image, copyingNetwork, outputs);
  const features = image.width - outputs;
  await mkdir(directory, { recursive: true });
  await writeSafetensors(join(directory, checkpointFiles.model), new Map());
  await writeConfig(directory, { kind: 'generalist', network: definition });
  await copyFile(join(dataset.directory, classesName), join(directory, classesName));
  const split = splits.validation.rows > 0 ? splits.validation : splits.train;
  const accuracy = createAccuracy();
  let loss = 0;
  for await (const { images, labels } of imageBatches(split, image, { batchSize: 256 })) {
    for (const [row, label] of labels.entries()) {
      const logits = images.subarray(row * image.width + features, (row + 1) * image.width);
      accuracy.add(label, logits);
      loss += logSumExp(logits) - logits[label];
    }
    if (accuracy.examples >= curveExamples) break;
  }
  const { examples, errors } = accuracy;
  const correct = examples - errors;
  const chance = 1 / outputs;
  const deviation = Math.sqrt((chance * (1 - chance)) / Math.max(1, examples));
  log.info(`the logits beside the features get ${correct} of ${examples} labelled rows right`);
  if (correct / Math.max(1, examples) <= chance + 3 * deviation) {
    log.warn(
      `the logits get ${correct} of ${examples} labelled rows right, as many as by chance: check the order of their columns, ` +
        'which is that of the classes (--class-names), and that rows belong together',
    );
  }
  return {
    epochs: 0,
    keptEpoch: 0,
    steps: 0,
    loss: loss / Math.max(1, examples),
    parameters: countParameters(definition),
    flopsPerImage: forwardFlops(definition),
    trainingFlops: 0,
    trainingSeconds: 0,
  };
}

/**
 * Accuracy and likelihood on the first validation images.
 *
 * Cost: of an image, the head and a pass over the classes for each temperature, on the backend.
 */
async function validate(network: Network, { splits, image }: Dataset) {
  const { operations, definition } = network;
  const { outputs } = definition;
  const most = Math.min(curveExamples, Math.max(leastCurveExamples, Math.floor(curveValues / outputs)));
  const losses = temperatures.map(() => 0); // sums over the images
  let [examples, correct] = [0, 0];
  const pause = createPause(undefined, 'validation');
  const batchSize = chunkSize(outputs);
  for await (const { images, labels } of imageBatches(splits.validation, image, { batchSize })) {
    const turn = pause();
    if (turn) await turn;
    const count = labels.length;
    const { logits, means } = operations.tidy(() => {
      const input = operations.tensor(images, [count, image.height, image.width, image.channels]);
      const logits = runNetwork(network, input); // (batch, classes)
      const wanted = operations.tensor(labels, [count]);
      const means = temperatures.map((temperature) => {
        const tempered = temperature === 1 ? logits : operations.div(logits, temperature);
        return operations.reshape(operations.softmaxCrossEntropy(tempered, wanted), [1]);
      });
      return { logits, means: operations.concat(means) };
    });
    const firsts = await operations.firstLargest(logits);
    const ofBatch = await operations.read(means);
    operations.dispose([logits, means]);
    for (const [at, mean] of ofBatch.entries()) losses[at] += count * mean;
    for (const [row, first] of firsts.entries()) correct += Number(first === labels[row]);
    examples += count;
    if (examples >= most) break;
  }
  if (examples === 0) return {};
  return {
    validationTop1: correct / examples,
    validationLoss: losses[temperatures.indexOf(1)] / examples,
    validationTemperedLoss: Math.min(...losses) / examples,
  };
}

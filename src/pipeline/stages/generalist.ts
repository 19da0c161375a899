import { copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { selectBackend } from '../../compute/backend.js';
import { KdSpecError } from '../../core/errors.js';
import type { JsonObject } from '../../core/json.js';
import { createRandom } from '../../core/random.js';
import { openDataset } from '../../data/dataset.js';
import { writeConfig } from '../../models/checkpoint.js';
import { createNetwork } from '../../models/network.js';
import {
  forwardFlops,
  type NetworkDefinition,
  networkTensors,
  trainingFlopsFactor,
} from '../../models/network-definition.js';
import { openBatchesAhead } from '../../training/ahead/batches-ahead.js';
import { imageSource } from '../../training/ahead/image-source.js';
import { checkpointsFolder, writeTraining } from '../../training/checkpoints.js';
import { Optimizer } from '../../training/optimizer.js';
import { type TrainingPlan, train } from '../../training/train.js';
import type { StageContext } from '../stage.js';

/** Trains the generalist on the training part of the data set. */
export async function trainGeneralist(context: StageContext): Promise<JsonObject> {
  const { settings, directory, log, signal } = context;
  const { seed, generalist: options } = settings;
  context.usesBackend((await selectBackend(settings.backend)).name);
  const dataset = await openDataset(context.input('dataset'));
  const { splits, image, classes } = dataset;

  const definition: NetworkDefinition = { input: image, ...options.network, outputs: classes.length };
  const network = createNetwork(definition, createRandom(seed, 'generalist'));
  const { batchSize, epochs } = options;
  const sampledClasses = sampledHead(options.head.sampled, batchSize, classes.length);
  const optimizer = new Optimizer(options.optimizer, network, 'convolutions', {
    sampledHead: sampledClasses !== undefined,
  });
  const stepsPerEpoch = Math.ceil(splits.train.rows / batchSize);
  const totalSteps = epochs * stepsPerEpoch;
  await using batches = await openBatchesAhead(
    imageSource,
    { directory: dataset.directory, seed, purpose: 'generalist', batchSize },
    { epochs, examples: epochs * splits.train.rows },
  );

  const plan: TrainingPlan = {
    seed,
    epochs,
    stepsPerEpoch,
    from: 'convolutions',
    schedule: {
      kind: options.schedule,
      learningRate: options.learningRate,
      warmupSteps: Math.round(options.warmup * totalSteps),
      totalSteps,
    },
    weightDecay: options.weightDecay,
    labelSmoothing: options.labelSmoothing,
    sampledClasses,
    batches: (epoch, skip) => batches.batches(epoch, skip),
  };
  try {
    const { loss, state } = await train(network, optimizer, plan, {
      directory,
      log,
      signal,
      label: 'generalist',
      checkpointSeconds: options.checkpointSeconds,
    });
    await writeTraining(directory, network, optimizer, state);
    await writeConfig(directory, { kind: 'generalist', network: definition });
    await copyFile(join(dataset.directory, 'classes.txt'), join(directory, 'classes.txt'));
    await rm(checkpointsFolder(directory), { recursive: true, force: true });
    const flopsPerImage = forwardFlops(definition);
    return {
      epochs,
      steps: totalSteps,
      loss,
      parameters: countParameters(definition),
      flopsPerImage,
      trainingFlops: trainingFlopsFactor * flopsPerImage * epochs * splits.train.rows,
      trainingSeconds: state.seconds,
    };
  } finally {
    optimizer.dispose();
    network.dispose();
  }
}

/** How many classes a step computes; undefined when that is all of them. */
function sampledHead(sampled: number | null, batchSize: number, classes: number): number | undefined {
  if (sampled === null || sampled >= classes) return undefined;
  if (sampled > batchSize) return sampled;
  throw new KdSpecError(
    'option-invalid',
    `expected --sampled-head above the batch size of ${batchSize}, got ${sampled}: each class of a batch takes part ` +
      'in its step, and some others must',
  );
}

function countParameters(definition: NetworkDefinition): number {
  const sizes = networkTensors(definition).map(({ shape }) =>
    shape.reduce((product, extent) => product * extent, 1),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

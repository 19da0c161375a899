import { join } from 'node:path';
import type { Operations, Scalar, Tensor2D } from '../compute/operations.js';
import { flush } from '../core/atomic-file.js';
import { assert, KdSpecError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { createPause } from '../core/pause.js';
import { createRandom } from '../core/random.js';
import type { Network } from '../models/network.js';
import { type NetworkPart, networkTensors } from '../models/network-definition.js';
import { runNetwork } from '../models/run-network.js';
import { restoreCheckpoint, restoreStep, saveCheckpoint, type TrainingState } from './checkpoints.js';
import { distillationLoss, type TeacherTargets } from './distillation-loss.js';
import { afterCheck, bentSchedule, type EarlyStopping, isOver } from './early-stopping.js';
import { appendMetrics, type EpochMetrics, lastMetrics, rewindMetrics } from './metrics-log.js';
import type { Optimizer } from './optimizer.js';
import { sampledTrainingStep } from './sampled-head/sampled-training-step.js';
import { learningRateAt, type Schedule } from './schedule.js';

/** Inputs and labels of one step. */
export interface TrainingBatch {
  /** Images (batch, height, width, channels) in [0, 1], or features (batch, width). */
  readonly inputs: Float32Array;
  readonly shape: readonly [number, ...number[]];
  /** (batch), indices of the network's outputs. */
  readonly labels: Int32Array;
  /** What a teacher predicts for the examples; without it every example has its label as a hard target. */
  readonly teacher?: TeacherTargets;
  /** (batch), in nats: what the last output's logit is raised by for each example, before any loss. */
  readonly lastOffsets?: Float32Array;
}

/** Everything that decides the weights that come out. */
export interface TrainingPlan {
  readonly seed: number;
  /** At most, with `stopping`. */
  readonly epochs: number;
  readonly stepsPerEpoch: number;
  /** The first part of the network that is trained, which is also what the batches are inputs of. */
  readonly from: NetworkPart;
  readonly schedule: Schedule;
  /** Ends the training by validation and keeps the weights that were best there; without it, the last. */
  readonly stopping?: EarlyStopping | undefined;
  readonly weightDecay: number;
  readonly labelSmoothing: number;
  /** Classes whose logits a step computes, when the optimiser has the head in rows; see `sampledCrossEntropy`. */
  readonly sampledClasses?: number | undefined;
  /** Largest length of a hidden unit's incoming weights; no limit by default. */
  readonly maxNorm?: number | null;
  /** The batches of an epoch (0 for the first) after the first `skip` ones; always the same for the same epoch. */
  batches(epoch: number, skip: number): AsyncIterable<TrainingBatch>;
}

export interface TrainingSummary {
  /** Where the weights that are kept stood. */
  readonly state: TrainingState;
  /** Steps done, of which those after `state.step` gained nothing on validation. */
  readonly steps: number;
  /** Seconds of all of them. */
  readonly seconds: number;
  /** Mean loss over the last epoch. */
  readonly loss: number;
}

const reportEverySteps = 20; // the loss is read back, checked and shown this often: reading it waits for the backend

/**
 * Trains a network in place, from its newest checkpoint in `directory` if there is one.
 *
 * Writes `metrics.jsonl` and checkpoints into `directory`: every `checkpointSeconds`, when `signal` aborts, and, with
 * early stopping, whenever validation is better than ever before.
 *
 * @throws KdSpecError `interrupted` after an abort, when the checkpoint is written; `training-diverged` when the
 * loss is not finite
 */
export async function train(
  network: Network,
  optimizer: Optimizer,
  plan: TrainingPlan,
  {
    directory,
    log,
    signal,
    label,
    checkpointSeconds,
    validate,
    afterEpoch,
  }: {
    directory: string;
    log: Log;
    signal: AbortSignal;
    label: string;
    checkpointSeconds: number;
    /** Measures the network at each check, at least after each epoch; what it returns goes into `metrics.jsonl`. */
    validate?: () => Promise<
      Pick<EpochMetrics, 'validationTop1' | 'validationLoss' | 'validationTemperedLoss'>
    >;
    /** Called when an epoch (1 for the first) is over, before it is part of a checkpoint: again after a kill. */
    afterEpoch?: (epoch: number) => Promise<void>;
  },
): Promise<TrainingSummary> {
  const { seed, stepsPerEpoch, stopping } = plan;
  const metricsPath = join(directory, 'metrics.jsonl');
  const restored = await restoreCheckpoint(directory, network, optimizer, { log });
  let { step, epochLoss, seconds, course } = restored ?? { step: 0, epochLoss: 0, seconds: 0 };
  await rewindMetrics(metricsPath, step);
  await optimizer.loadHead();

  const state = (): TrainingState => ({
    seed,
    step,
    stepsPerEpoch,
    epochLoss,
    seconds,
    ...(course && { course }),
  });
  const progress = log.progress(label, plan.epochs * stepsPerEpoch);
  let schedule = bentSchedule(plan.schedule, course);
  let isDone = isOver(step, plan.schedule, course);
  const pause = createPause(undefined, label); // the checkpoint comes first: an abort is seen to below
  let clock = performance.now();
  let checkpointAt = clock + checkpointSeconds * 1000;
  let examplesSinceReport = 0;

  for (let epoch = Math.floor(step / stepsPerEpoch); epoch < plan.epochs && !isDone; epoch++) {
    const pending: Scalar[] = []; // losses of the steps since they were last read
    for await (const batch of plan.batches(epoch, step - epoch * stepsPerEpoch)) {
      pending.push(await trainingStep(network, optimizer, { ...plan, schedule }, batch, step));
      step++;
      const turn = pause();
      if (turn) await turn;
      examplesSinceReport += batch.shape[0];
      const stepOfEpoch = step - epoch * stepsPerEpoch;
      const endsEpoch = stepOfEpoch === stepsPerEpoch;
      const endsTraining = isOver(step, plan.schedule, course);
      const isChecked =
        endsEpoch || (stopping && (endsTraining || stepOfEpoch % stopping.stepsPerCheck === 0));
      let isDue = signal.aborted || performance.now() > checkpointAt;
      if (pending.length < reportEverySteps && !isChecked && !isDue) continue;

      epochLoss += await sumLosses(network.operations, pending.splice(0));
      const isHealthy =
        Number.isFinite(epochLoss) && (!(isChecked || isDue) || (await optimizer.parametersAreFinite()));
      if (!isHealthy) throw diverged(label, step);
      const now = performance.now();
      const rate = Math.round((1000 * examplesSinceReport) / (now - clock));
      seconds += (now - clock) / 1000;
      clock = now;
      examplesSinceReport = 0;
      const meanLoss = epochLoss / stepOfEpoch;
      progress.update(step, `loss ${meanLoss.toFixed(3)}, ${rate.toLocaleString('en')} examples/s`);

      if (isChecked) {
        const learningRate = learningRateAt(step - 1, schedule);
        optimizer.storeHead();
        const validation = await validate?.();
        const ofEpoch = { epoch: step / stepsPerEpoch, step, loss: meanLoss, learningRate, seconds };
        await appendMetrics(metricsPath, { ...ofEpoch, ...validation });
        if (stopping && validation?.validationTemperedLoss !== undefined) {
          course = afterCheck(course, { step, loss: validation.validationTemperedLoss }, stopping);
          schedule = bentSchedule(plan.schedule, course);
          isDue ||= course.best.step === step;
        }
        if (endsEpoch) {
          epochLoss = 0;
          await afterEpoch?.(epoch + 1);
        }
        clock = performance.now(); // what is measured in between is not training
      }
      if (isDue) {
        await flush(metricsPath);
        await saveCheckpoint(directory, network, optimizer, state());
        if (signal.aborted)
          throw new KdSpecError('interrupted', `${label}: stopped at step ${step}, checkpoint kept`);
        checkpointAt = performance.now() + checkpointSeconds * 1000;
      }
      isDone = isOver(step, plan.schedule, course);
      if (endsEpoch || isDone) break;
    }
  }
  const done = { steps: step, seconds, loss: (await lastMetrics(metricsPath))?.loss ?? Number.NaN };
  let kept = state();
  if (course && course.best.step !== step) {
    kept = await restoreStep(directory, course.best.step, network, optimizer);
    await optimizer.loadHead();
  }
  const learningRate = learningRateAt(kept.step - 1, schedule);
  optimizer.finishHead({ step: kept.step, learningRate, weightDecay: plan.weightDecay });
  progress.finish(`loss ${done.loss.toFixed(3)}`);
  return { state: kept, ...done };
}

/** One update; returns the loss, still on the backend. */
async function trainingStep(
  network: Network,
  optimizer: Optimizer,
  plan: TrainingPlan,
  { inputs, shape, labels, teacher, lastOffsets }: TrainingBatch,
  step: number,
): Promise<Scalar> {
  const { operations } = network;
  const { labelSmoothing, weightDecay } = plan;
  const training = { dropoutSeed: createRandom(plan.seed, 'dropout', step).uint32() };
  const now = { step, learningRate: learningRateAt(step, plan.schedule), weightDecay };
  if (plan.sampledClasses !== undefined) {
    assert(!teacher && !lastOffsets, 'a sampled softmax learns from hard labels and its own logits alone');
    const { seed, from, sampledClasses: count } = plan;
    const options = { ...now, ...training, seed, from, labelSmoothing, count };
    const loss = await sampledTrainingStep(network, optimizer, { inputs, shape, labels }, options);
    if (plan.maxNorm) limitHiddenWeights(network, plan.maxNorm);
    return loss;
  }
  return operations.tidy(() => {
    const input = operations.tensor(inputs, shape);
    const { value, gradients } = operations.valueAndGradients(() => {
      const own = runNetwork(network, input, { from: plan.from, training });
      const logits = lastOffsets ? operations.add(own, lastColumn(operations, own, lastOffsets)) : own;
      if (teacher) return distillationLoss(operations, logits, labels, teacher, { labelSmoothing });
      return operations.softmaxCrossEntropy(logits, operations.tensor(labels, [labels.length]), {
        labelSmoothing,
      });
    }, optimizer.parameters);
    optimizer.apply(gradients, now);
    if (plan.maxNorm) limitHiddenWeights(network, plan.maxNorm);
    return value;
  });
}

/** Zeros of the shape of some logits, but for their last column. */
function lastColumn(operations: Operations, { shape }: Tensor2D, values: Float32Array): Tensor2D {
  const [rows, outputs] = shape;
  const matrix = new Float32Array(rows * outputs);
  for (let row = 0; row < rows; row++) matrix[(row + 1) * outputs - 1] = values[row];
  return operations.tensor(matrix, shape);
}

function limitHiddenWeights(network: Network, maxNorm: number): void {
  for (const { name, part, role } of networkTensors(network.definition)) {
    if (part === 'dense' && role === 'weights')
      network.operations.limitColumnNorms(network.variable<Tensor2D>(name), maxNorm);
  }
}

async function sumLosses(operations: Operations, losses: readonly Scalar[]): Promise<number> {
  let sum = 0;
  for (const loss of losses) {
    sum += (await operations.read(loss))[0];
    loss.dispose();
  }
  return sum;
}

function diverged(label: string, step: number): KdSpecError {
  return new KdSpecError(
    'training-diverged',
    `${label}: loss or weights are no longer finite at step ${step}; lower the learning rate or lengthen the warm-up`,
  );
}

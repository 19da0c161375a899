import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Operations } from '../compute/operations.js';
import { writeFileAtomically } from '../core/atomic-file.js';
import type { Log } from '../core/log.js';
import { createRandom } from '../core/random.js';
import { createNetwork, type Network, networkValues } from '../models/network.js';
import type { NetworkDefinition } from '../models/network-definition.js';
import { readSafetensors, writeSafetensors } from '../models/safetensors.js';
import { Optimizer } from '../training/optimizer.js';
import { planTraining, type TrainingOptions } from '../training/plan.js';
import { train } from '../training/train.js';
import type { SoftTargetStore } from './soft-target-store.js';
import { studentBatches, type TransferViews } from './student-batches.js';
import type { StudentObjective } from './student-objective.js';
import type { SelectedRows, TransferSet } from './transfer-set.js';

/** How a student is trained, whatever it learns from. */
export interface StudentTraining extends TrainingOptions {
  /** `best` keeps the epoch that is best on validation (early stopping), `last` the last. */
  readonly keep: 'last' | 'best';
  readonly checkpointSeconds: number;
}

/** What was measured after an epoch. */
export interface EpochAccuracy {
  /** 1 for the first. */
  readonly epoch: number;
  readonly validation: number;
  /** Of images of the transfer set, and of the test; only for the whole curve. */
  readonly train?: number;
  readonly test?: number;
}

export interface TrainedStudent {
  /** The caller disposes of it. */
  readonly network: Network;
  readonly loss: number;
  readonly seconds: number;
  readonly steps: number;
  /** The epoch whose weights these are. */
  readonly epoch: number;
  readonly curve: readonly EpochAccuracy[];
}

const curveFile = 'curve.jsonl';
const bestFile = 'best.safetensors';

/**
 * Trains one student, from its newest checkpoint in `directory` if there is one. What it leaves in the folder is
 * of no use once the student is saved elsewhere.
 *
 * @param what its network, the images it sees, the soft targets it learns from (none: labels alone)
 * @param options.measure accuracies after an epoch; called after every epoch when given
 * @throws KdSpecError `interrupted`, `training-diverged`
 */
export async function trainStudent(
  directory: string,
  what: {
    readonly operations: Operations;
    readonly definition: NetworkDefinition;
    readonly set: TransferSet;
    readonly selected: SelectedRows;
    readonly views: TransferViews;
    readonly softTargets: SoftTargetStore | undefined;
    readonly objective: StudentObjective;
  },
  training: StudentTraining,
  {
    log,
    signal,
    label,
    measure,
  }: {
    readonly log: Log;
    readonly signal: AbortSignal;
    readonly label: string;
    readonly measure?: ((network: Network) => Promise<Omit<EpochAccuracy, 'epoch'>>) | undefined;
  },
): Promise<TrainedStudent> {
  const { operations, definition, set, selected, views, softTargets, objective } = what;
  const { seed, epochs, batchSize, keep } = training;
  // All candidates of a sweep start from the same weights and see the same batches: only the objective differs.
  const network = createNetwork(operations, definition, createRandom(seed, 'student'));
  const optimizer = new Optimizer(training.optimizer, network, 'convolutions');
  const stepsPerEpoch = Math.ceil(selected.count / batchSize);
  const plan = planTraining(training, {
    stepsPerEpoch,
    from: 'convolutions',
    batches: (epoch, skip) =>
      studentBatches(set, selected, { softTargets, views, objective, batchSize, seed, epoch, skip }),
  });
  try {
    const { loss, state } = await train(network, optimizer, plan, {
      directory,
      log,
      signal,
      label,
      checkpointSeconds: training.checkpointSeconds,
      ...(measure && {
        afterEpoch: async (epoch: number) => {
          const accuracy = { epoch, ...(await measure(network)) };
          const earlier = (await readCurve(directory)).filter((point) => point.epoch < epoch);
          const isBest = earlier.every(({ validation }) => validation < accuracy.validation);
          if (isBest && keep === 'best')
            await writeSafetensors(join(directory, bestFile), await networkValues(network));
          await writeFileAtomically(join(directory, curveFile), lines([...earlier, accuracy]));
        },
      }),
    });
    const curve = await readCurve(directory);
    let epoch = epochs;
    if (keep === 'best') {
      const best = Math.max(...curve.map(({ validation }) => validation));
      epoch = curve.find(({ validation }) => validation === best)?.epoch ?? epochs;
      network.assign(await readSafetensors(join(directory, bestFile)));
    }
    return { network, loss, seconds: state.seconds, steps: epochs * stepsPerEpoch, epoch, curve };
  } catch (error) {
    network.dispose();
    throw error;
  } finally {
    optimizer.dispose();
  }
}

const lines = (points: readonly EpochAccuracy[]) =>
  points.map((point) => `${JSON.stringify(point)}\n`).join('');

/** The accuracies so far. */
async function readCurve(directory: string): Promise<readonly EpochAccuracy[]> {
  const text = await readFile(join(directory, curveFile), 'utf8').catch(() => '');
  return text.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line) as EpochAccuracy];
    } catch {
      return [];
    }
  });
}

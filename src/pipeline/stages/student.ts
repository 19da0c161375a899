import { copyFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { selectBackend } from '../../compute/backend.js';
import { readManifest } from '../../core/artefact.js';
import { writeJsonAtomically } from '../../core/atomic-file.js';
import type { ImageBatch } from '../../data/batches.js';
import { type Dataset, openDataset } from '../../data/dataset.js';
import { classesName } from '../../data/dataset-files.js';
import { correctStudent, type StudentBias, unseenMask } from '../../distillation/bias-correction.js';
import { openSoftTargets } from '../../distillation/soft-target-store.js';
import { imageAccuracy, splitAccuracy } from '../../distillation/split-accuracy.js';
import { usedImages } from '../../distillation/student-batches.js';
import { isTempered, sweepObjectives } from '../../distillation/student-objective.js';
import { runSweep } from '../../distillation/sweep.js';
import { trainStudent } from '../../distillation/train-student.js';
import { openTransferSet, selectRows } from '../../distillation/transfer-set.js';
import { renderSweepPage } from '../../evaluation/sweep-page.js';
import { checkpointFiles, writeConfig } from '../../models/checkpoint.js';
import type { Classifier } from '../../models/classifier.js';
import { type Network, networkFromTensors, networkValues } from '../../models/network.js';
import { networkClassifier } from '../../models/network-classifier.js';
import { countParameters, forwardFlops, networkOn } from '../../models/network-definition.js';
import { readSafetensors, writeSafetensors } from '../../models/safetensors.js';
import { trainingTrial } from '../../training/trial.js';
import { studentNetwork } from '../outline.js';
import type { StageContext } from '../stage.js';
import { metricsOf, type StageResults } from '../stage-metrics.js';

const curveRows = 10_000; // most images of the transfer set on which the curve is measured
const never = new AbortController().signal; // a training writes its checkpoint first when it is stopped

/** Trains a student for each temperature and weight, keeps the best on validation, and corrects its bias. */
export async function distill(context: StageContext): Promise<StageResults['student']> {
  const { settings, directory, signal } = context;
  const { student: options } = settings;
  const dataset = await openDataset(context.input('dataset'));
  const { image, splits, classes } = dataset;
  const set = await openTransferSet(settings.answers.transfer, dataset);
  const seed = options.seed ?? settings.seed;
  const selected = await selectRows(
    set,
    {
      classes: options.transferClasses,
      without: options.transferWithout,
      share: options.transferShare,
      seed,
    },
    classes.length,
  );
  const definition = networkOn(image, studentNetwork(settings), classes.length);
  const { batchSize, optimizer } = options;
  const { name: backend, operations } = await selectBackend(settings.backend, {
    trial: trainingTrial(definition, { batchSize, optimizer }),
  });
  context.usesBackend(backend);
  const softTargets =
    options.objective === 'labels' ? undefined : await openSoftTargets(context.input('answers'));
  try {
    const views = {
      count: settings.answers.views,
      augmentation: dataset.augmentation,
      image,
      seed: settings.seed,
    };
    const isUnseen = unseenMask(selected.unseen, classes.length);
    const accuracyOn = (network: Network, split: 'validation' | 'test') =>
      splitAccuracy(asStudent(network, dataset), splits[split], image, { signal, isUnseen });
    const measured = options.curve || options.keep === 'best';
    const { results, best, model } = await runSweep(
      join(directory, 'candidates'),
      sweepObjectives(options),
      (folder, objective) =>
        trainStudent(
          folder,
          { operations, definition, set, selected, views, softTargets, objective },
          { ...options, seed, checkpointSeconds: settings.generalist.checkpointSeconds },
          {
            log: context.log,
            signal,
            label: `student${isTempered(objective.kind) ? ` at T = ${objective.temperature}` : ''}`,
            measure: measured
              ? (network) => curvePoint(network, dataset, options.curve && usedImages(set, selected, image))
              : undefined,
          },
        ),
      (network) => accuracyOn(network, 'validation'),
    );

    const network = networkFromTensors(operations, definition, await readSafetensors(model));
    try {
      const bias = await biasOf(network, dataset, selected.unseen, context);
      const validation = await accuracyOn(network, 'validation');
      const test = await accuracyOn(network, 'test');
      await writeSafetensors(join(directory, checkpointFiles.model), await networkValues(network));
      await writeConfig(directory, { kind: 'student', network: definition });
      await copyFile(join(dataset.directory, classesName), join(directory, classesName));
      if (bias) await writeJsonAtomically(join(directory, 'bias.json'), bias);
      const teacher =
        softTargets && metricsOf('answers', (await readManifest(context.input('answers'))).metrics);
      const { temperature, hardWeight } = results[best];
      const metrics = {
        objective: options.objective,
        ...(teacher && { teacher }),
        transferImages: selected.count,
        parameters: countParameters(definition),
        flopsPerImage: forwardFlops(definition),
        trainingSeconds: results.reduce((sum, { trainingSeconds }) => sum + trainingSeconds, 0),
        sweep: results.map(({ curve, ...result }) => ({
          ...result,
          curve: curve.map((point) => ({ ...point })),
        })),
        chosen: { temperature, hardWeight, epoch: results[best].epoch },
        validation,
        test,
        ...(bias && { bias: { ...bias, classes: [...bias.classes] } }),
      };
      await writeJsonAtomically(join(directory, 'sweep.json'), {
        sweep: metrics.sweep,
        chosen: metrics.chosen,
      });
      await writeFile(
        join(directory, 'index.html'),
        renderSweepPage({
          objective: options.objective,
          candidates: results,
          best,
          teacher: teacher?.validation,
          student: { validation, test, parameters: metrics.parameters },
        }),
      );
      await rm(join(directory, 'candidates'), { recursive: true, force: true });
      return metrics;
    } finally {
      network.dispose();
    }
  } finally {
    await softTargets?.close();
  }
}

/** Accuracy after an epoch: on validation, and for the whole curve on images that it learns from and on the test. */
async function curvePoint(network: Network, dataset: Dataset, used: AsyncIterable<ImageBatch> | false) {
  const student = asStudent(network, dataset);
  const { splits, image } = dataset;
  const validation = (await splitAccuracy(student, splits.validation, image, { signal: never })).top1;
  if (!used) return { validation };
  const train = (await imageAccuracy(student, used, { signal: never, maxRows: curveRows })).top1;
  const test = (await splitAccuracy(student, splits.test, image, { signal: never })).top1;
  return { validation, train, test };
}

/** A view of a network that somebody else disposes of. */
function asStudent(network: Network, { classes }: Dataset): Classifier {
  return networkClassifier(network, { name: 'the student', classes });
}

async function biasOf(
  network: Network,
  dataset: Dataset,
  unseen: readonly number[],
  { settings, signal }: StageContext,
): Promise<StudentBias | undefined> {
  const { biasCorrection } = settings.student;
  if (unseen.length === 0 || biasCorrection === 'none') return undefined;
  return correctStudent(network, dataset, unseen, { testTuned: biasCorrection === 'test-too', signal });
}

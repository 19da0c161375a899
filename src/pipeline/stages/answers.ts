import { existsSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { selectBackend } from '../../compute/backend.js';
import { KdSpecError } from '../../core/errors.js';
import { batchExamples } from '../../data/batches.js';
import { type Dataset, openDataset, type Split } from '../../data/dataset.js';
import type { Example } from '../../data/examples.js';
import { createSoftTargetWriter } from '../../distillation/soft-target-store.js';
import { type SplitAccuracy, splitAccuracy } from '../../distillation/split-accuracy.js';
import { viewAugmenter } from '../../distillation/student-batches.js';
import { isByChance, openTeachers, type TeacherSurroundings } from '../../distillation/teachers.js';
import { labelsOf, openTransferSet, type TransferSet } from '../../distillation/transfer-set.js';
import { batchSizeFor, type Classifier } from '../../models/classifier.js';
import { storedClasses } from '../outline.js';
import type { StageContext } from '../stage.js';
import type { StageResults } from '../stage-metrics.js';

const massFile = 'mass.json'; // probability that the stored classes of a part hold, summed
const partRows = 16_384; // what a kill loses at most

/** Stores the teacher's soft targets for every view of the transfer set; then measures the teacher. */
export async function writeAnswers(context: StageContext): Promise<StageResults['answers']> {
  const { settings, workspace } = context;
  const { teachers, mean, transfer, views, top } = settings.answers;
  context.usesBackend((await selectBackend(context.backend)).name);
  const dataset = await openDataset(context.input('dataset'));
  const set = await openTransferSet(transfer, dataset);
  const classes = dataset.classes.length;
  const predictsAnyImage = (teacher: Classifier) => teacher.input.kind === 'images';
  const surroundings: TeacherSurroundings = {
    workspace,
    backend: context.backend,
    classes: dataset.classes,
    image: dataset.image,
    transferRows: set.rows,
    transferLabels: () => labelsOf(set),
    note: (text) => context.log.info(text),
    warn: (text) => context.log.warn(text),
  };
  const teacher = await openTeachers(teachers, mean, surroundings);
  try {
    const width = storedClasses(top, classes);
    const keptMass = await writeSoftTargets(context, teacher, set, dataset, width);
    const measured = predictsAnyImage(teacher) ? await accuraciesOf(context, teacher, dataset) : undefined;
    warnOfChance(context, teacher, measured?.validation);
    const generalist = await generalistBeside(context, surroundings, dataset, measured);
    return {
      teacher: teacher.name,
      transfer: set.description,
      images: set.rows,
      views,
      rows: set.rows * Math.max(1, views),
      classes,
      top: width,
      keptMass,
      ...measured,
      ...(generalist && { generalist }),
    };
  } finally {
    teacher.dispose();
  }
}

/** A teacher that is right no more often than by chance has its classes, or its images, in another order. */
function warnOfChance(
  { log }: StageContext,
  { name, classes }: Classifier,
  validation: SplitAccuracy | undefined,
): void {
  if (validation === undefined || validation.examples === 0) return;
  const { errors, examples } = validation;
  if (!isByChance(examples - errors, examples, classes.length)) return;
  log.warn(
    `${name} gets ${examples - errors} of ${examples} validation images right, as many as by chance: check the order ` +
      'of its classes, and how it wants its images (channels, values)',
  );
}

/** Writes the soft targets part by part; parts that an interrupted run finished are kept. */
async function writeSoftTargets(
  { directory, settings, log, signal }: StageContext,
  teacher: Classifier,
  set: TransferSet,
  { augmentation, image }: Dataset,
  top: number,
): Promise<number> {
  const classes = teacher.classes.length;
  const count = settings.answers.views;
  const total = set.rows * Math.max(1, count);
  const progress = log.progress('soft targets', total);
  let memory = new Float32Array(); // for the logits of a batch
  let done = 0;
  let mass = 0;
  for (let view = 0; view < Math.max(1, count); view++) {
    const augment = viewAugmenter({ count, augmentation, image, seed: settings.seed }, view);
    for (let first = 0; first < set.rows; first += partRows) {
      const rows = Math.min(partRows, set.rows - first);
      const place = join(directory, `part-${pad(view)}-${pad(first / partRows)}`);
      if (!existsSync(place)) {
        const partial = `${place}.partial`;
        await rm(partial, { recursive: true, force: true });
        const writer = await createSoftTargetWriter(partial, { classes, top });
        let massOfPart = 0;
        try {
          const stream = batchExamples(firstOf(set.examples({ skip: first }), rows), image, {
            batchSize: batchSizeFor(classes),
            augment,
          });
          for await (const batch of stream) {
            if (signal.aborted) throw new KdSpecError('interrupted', `answers: stopped after ${done} images`);
            const values = batch.count * classes;
            if (memory.length < values) memory = new Float32Array(values);
            massOfPart += await writer.write(await teacher.logits(batch, { out: memory }));
            progress.update(done + (batch.rows.at(-1) ?? 0) - first + 1);
          }
          await writer.close();
          await writeFile(join(partial, massFile), JSON.stringify(massOfPart));
        } catch (error) {
          await writer.abort();
          throw error;
        }
        await rename(partial, place);
      }
      mass += Number(await readFile(join(place, massFile), 'utf8'));
      done += rows;
      progress.update(done);
    }
  }
  progress.finish();
  return mass / total;
}

async function* firstOf(stream: AsyncIterable<Example>, rows: number): AsyncGenerator<Example> {
  let left = rows;
  for await (const example of stream) {
    yield example;
    if (--left === 0) return;
  }
}

async function accuraciesOf(context: StageContext, classifier: Classifier, dataset: Dataset) {
  const { validation, test } = dataset.splits;
  return {
    validation: await accuracyOf(context, classifier, dataset, validation),
    test: await accuracyOf(context, classifier, dataset, test),
  };
}

/** The workspace's generalist on the same images, where it is a teacher or stands in one: what a student has to beat. */
async function generalistBeside(
  context: StageContext,
  surroundings: TeacherSurroundings,
  dataset: Dataset,
  teacher: Awaited<ReturnType<typeof accuraciesOf>> | undefined,
) {
  const { teachers, mean } = context.settings.answers;
  const name = 'generalist';
  if (teachers.every((one) => one === name)) return teacher;
  if (!teachers.some((one) => one === name || one === 'ensemble')) return undefined;
  const generalist = await openTeachers([name], mean, surroundings);
  try {
    return await accuraciesOf(context, generalist, dataset);
  } finally {
    generalist.dispose();
  }
}

async function accuracyOf(
  { log, signal }: StageContext,
  classifier: Classifier,
  { image }: Dataset,
  split: Split,
) {
  const progress = log.progress(`accuracy of ${classifier.name}`, split.rows);
  const accuracy = await splitAccuracy(classifier, split, image, { signal, progress: progress.update });
  progress.finish();
  return accuracy;
}

const pad = (value: number) => String(value).padStart(5, '0');

import { existsSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { selectBackend } from '../../compute/backend.js';
import { KdSpecError } from '../../core/errors.js';
import type { JsonObject } from '../../core/json.js';
import { batchExamples, imageBatches } from '../../data/batches.js';
import { type Dataset, openDataset, type Split } from '../../data/dataset.js';
import type { Example } from '../../data/examples.js';
import { createAnswerWriter } from '../../distillation/answers.js';
import { openTeachers } from '../../distillation/open-teachers.js';
import { createAccuracyCount, type SplitAccuracy } from '../../distillation/run-split.js';
import { viewAugmenter } from '../../distillation/student-batches.js';
import type { Teacher } from '../../distillation/teacher.js';
import { openTransferSet, type TransferSet } from '../../distillation/transfer-set.js';
import { batchSizeFor } from '../../models/classifier.js';
import type { StageContext } from '../stage.js';

const massFile = 'mass.json'; // probability that the stored classes of a part hold, summed
const partRows = 16_384; // what a kill loses at most
/** Classes that are stored when nothing else is asked for: few classes fully. */
const defaultTop = 100;
const fullUpTo = 200;

/** Asks the teacher about every view of the transfer set, and stores what it says; then measures the teacher. */
export async function writeAnswers(context: StageContext): Promise<JsonObject> {
  const { settings, workspace } = context;
  const { teachers, mean, transfer, views, top } = settings.answers;
  context.usesBackend((await selectBackend(settings.backend)).name);
  const dataset = await openDataset(context.input('dataset'));
  const set = await openTransferSet(transfer, dataset);
  const classes = dataset.classes.length;
  const teacher = await openTeachers(teachers, mean, {
    workspace,
    backend: settings.backend,
    classes,
    image: dataset.image,
    transferRows: set.rows,
  });
  try {
    if (views > 0 && !teacher.answersAnyImage) {
      throw new KdSpecError(
        'option-invalid',
        '--transfer-views: stored predictions know the images as they are; set it to 0',
      );
    }
    const width = Math.min(classes, top ?? (classes <= fullUpTo ? classes : defaultTop));
    const keptMass = await answerAll(context, teacher, set, dataset, width);
    const measured = teacher.answersAnyImage
      ? {
          validation: await accuracyOf(context, teacher, dataset, dataset.splits.validation),
          test: await accuracyOf(context, teacher, dataset, dataset.splits.test),
        }
      : {};
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
    };
  } finally {
    teacher.dispose();
  }
}

/** Writes the answers part by part; parts that an interrupted run finished are kept. */
async function answerAll(
  { directory, settings, log, signal }: StageContext,
  teacher: Teacher,
  set: TransferSet,
  { augmentation, image }: Dataset,
  top: number,
): Promise<number> {
  const { classes } = teacher;
  const count = settings.answers.views;
  const total = set.rows * Math.max(1, count);
  const progress = log.progress('answers', total);
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
        const writer = await createAnswerWriter(partial, { classes, top });
        let massOfPart = 0;
        try {
          const stream = batchExamples(between(set.examples(), first, first + rows), image, {
            batchSize: batchSizeFor(classes),
            augment,
          });
          for await (const { images, labels, rows: asked } of stream) {
            if (signal.aborted) throw new KdSpecError('interrupted', `answers: stopped after ${done} images`);
            const shape = [labels.length, image.height, image.width, image.channels] as const;
            const said = await teacher.answer({ images, shape, rows: asked });
            massOfPart += await writer.write(said);
            progress.update(done + (asked.at(-1) ?? 0) - first + 1);
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

async function* between(stream: AsyncIterable<Example>, from: number, to: number): AsyncGenerator<Example> {
  let position = 0;
  for await (const example of stream) {
    if (position >= to) return;
    if (position++ >= from) yield example;
  }
}

async function accuracyOf(
  { log, signal }: StageContext,
  teacher: Teacher,
  { image }: Dataset,
  split: Split,
): Promise<SplitAccuracy> {
  const count = createAccuracyCount();
  const progress = log.progress('the teacher itself', split.rows);
  let done = 0;
  for await (const { images, labels, rows } of imageBatches(split, image, {
    batchSize: batchSizeFor(teacher.classes),
  })) {
    if (signal.aborted) throw new KdSpecError('interrupted', `answers: stopped while measuring the teacher`);
    const shape = [labels.length, image.height, image.width, image.channels] as const;
    const said = await teacher.answer({ images, shape, rows });
    for (const [row, label] of labels.entries())
      count.add(label, said.subarray(row * teacher.classes, (row + 1) * teacher.classes));
    done += labels.length;
    progress.update(done);
  }
  progress.finish();
  return count.result();
}

const pad = (value: number) => String(value).padStart(5, '0');

import { rm } from 'node:fs/promises';
import { assert } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import type { ImportReport } from '../../data/import-report.js';
import { openSource } from '../../data/importers/importers.js';
import { withKnownClasses } from '../../data/importers/known-classes.js';
import { writeDataset } from '../../data/write-dataset.js';
import type { Settings } from '../options.js';
import type { StageContext } from '../stage.js';
import type { StageResults } from '../stage-metrics.js';

/** Imports or generates the data set and writes it as Arrow shards. */
export async function makeDataset({
  settings,
  directory,
  log,
  signal,
}: StageContext): Promise<StageResults['dataset']> {
  const { dataset, seed } = settings;
  const foreign = dataset.model.onnx === null ? undefined : await describeModel(dataset, log);
  const { importer, source: own } = await openSource(dataset.source, {
    ...dataset,
    ...(foreign && { imageSize: foreign.input.image.height, channels: foreign.input.image.channels }),
    seed,
    log,
  });
  const source = foreign ? withKnownClasses(own, foreign.classes.names, foreign.model.path) : own;
  await rm(directory, { recursive: true, force: true }); // shards of an interrupted run: writing starts afresh
  const { splits, classes, labels, report } = await writeDataset(directory, source, {
    shardBytes: dataset.shardMegabytes * 2 ** 20,
    log,
    signal,
  });
  if (report) logReport(report, log);
  checkValidation(labels.validation, source.classes, log);
  const { train, validation, test } = splits;
  return {
    description: source.description,
    classes,
    train: train.rows,
    validation: validation.rows,
    test: test.rows,
    shards: train.shards + validation.shards + test.shards,
    bytes: train.bytes + validation.bytes + test.bytes,
    ...(report && {
      import: {
        kind: importer.name,
        leftOut: report.leftOut.map((finding) => ({ ...finding })),
        notes: report.notes.map((finding) => ({ ...finding })),
      },
    }),
  };
}

/** The foreign model that is to be the generalist: its classes and its images are those of the data set. */
async function describeModel({ model, imageSize }: Settings['dataset'], log: Log) {
  assert(model.onnx !== null, 'a model was named');
  const { describeOnnx } = await import('../../models/onnx/import-onnx.js');
  const described = await describeOnnx(model.onnx, { ...model, imageSize });
  for (const note of described.notes) log.info(note);
  return described;
}

function logReport({ leftOut, notes }: ImportReport, log: Log): void {
  for (const { what, count, example } of leftOut) {
    log.warn(`left out ${count.toLocaleString('en')}: ${what}, such as ${example}`);
  }
  for (const { what, count, example } of notes) {
    log.info(`taken ${count.toLocaleString('en')}: ${what}, such as ${example}`);
  }
}

/**
 * Classes that nothing is chosen by; that there are few validation images on average was said while planning.
 *
 * @param labels (classes), validation images of each class
 */
function checkValidation(labels: Int32Array, classes: readonly string[], log: Log): void {
  const without = labels.reduce((sum, count) => sum + (count === 0 ? 1 : 0), 0);
  if (without === 0) return;
  log.warn(
    `${without.toLocaleString('en')} of ${classes.length.toLocaleString('en')} classes have no validation image, such ` +
      `as ${classes[labels.indexOf(0)]}: nothing can be chosen by these; add images, or raise --validation-fraction`,
  );
}

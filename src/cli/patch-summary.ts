import { relative } from 'node:path';
import { percent, shortPercent, signedWithin } from '../core/percent.js';
import { byteSize, count } from '../core/quantity-text.js';
import type { PatchFigures } from '../evaluation/patch-figures.js';
import type { RivalsReport } from '../evaluation/rivals/compare-rivals.js';
import { rivalAccuracies } from '../evaluation/rivals/rivals-table.js';
import type { PatchRecord } from '../models/onnx/exported-metadata.js';
import { alignColumns } from './summary.js';

/** What a patched file does to images that nothing was chosen on. */
export interface MeasuredPatch {
  readonly test: PatchFigures;
  readonly bystanders: PatchFigures | undefined;
  /** Classes with training images, and the others. */
  readonly classes: number;
  readonly withoutImages: number;
}

/** A patch that was written. */
export interface WrittenPatch {
  readonly measured: MeasuredPatch;
  /** The file with what was measured: test images, and the greatest difference of a probability. */
  readonly compared: { readonly images: number; readonly maxDifference: number };
  /** Specialists that it added. */
  readonly added: number;
  /** The patches that were in the model before. */
  readonly earlier: readonly PatchRecord[];
  /** On the harm, and the one that calibration kept. */
  readonly bound: number | null;
  readonly calibratedFor: number | null;
  /** Measured where the report shows them. */
  readonly rivals: RivalsReport | undefined;
  readonly file: string;
  readonly bytes: number;
  readonly report: string;
}

/**
 * What `kd-spec patch` prints, in parts: that a rival is better, the change, what else there is, what was made.
 *
 * @param folder that paths are shown from
 */
export function patchSummary(
  {
    measured: { test, bystanders, classes, withoutImages },
    compared,
    added,
    earlier,
    bound,
    calibratedFor,
    rivals,
    file,
    bytes,
    report,
  }: WrittenPatch,
  folder: string,
): string {
  const row = (name: string, figures: PatchFigures, leastError = 0) => [
    name,
    percent(figures.before),
    percent(figures.after),
    signedWithin(figures.after - figures.before, Math.max(figures.standardError, leastError)),
    `${count(figures.examples)} images`,
  ];
  const isBeaten = rivals !== undefined && rivals.verdict.better !== null;
  const change = [
    alignColumns(
      [
        ['', 'before', 'after', 'change', ''],
        row(`${count(classes)} classes with images`, test),
        // As of any harm: nobody knows from few images that none changes.
        ...(bystanders ? [row('bystanders', bystanders, 1 / bystanders.examples)] : []),
      ],
      'lrrrl',
    ),
    ...earlier.map(
      (one, index) =>
        `patch ${index + 1}: ${specialistsOf(one.specialists)}, unchanged; ${count(one.classes)} classes went from ` +
        `${percent(one.before.top1)} to ${percent(one.after.top1)} when it was made`,
    ),
    ...(bystanders && bound !== null && calibratedFor !== null && calibratedFor < bound
      ? [
          `calibrated for a harm of at most ${shortPercent(calibratedFor)}: with ${shortPercent(bound)} bystanders for the test lost more than that, and so chose it: their figure is no fresh one`,
        ]
      : []),
    ...(bystanders || withoutImages === 0
      ? []
      : [
          `nothing measured the ${count(withoutImages)} classes without images: --bystanders PATH names images of some`,
        ]),
  ];
  const others = rivals ? rivalAccuracies(rivals) : [];
  const isBeyond = others.some(({ keepsBound }) => keepsBound === false);
  const instead = rivals
    ? [
        alignColumns(
          [
            ['instead', 'classes with images', ...(bystanders ? ['bystanders', ''] : [])],
            ...others.map(({ name, top1, bystanders: right, keepsBound }) => [
              name,
              percent(top1),
              ...(bystanders
                ? [right === null ? '' : percent(right), keepsBound === false ? 'beyond the bound' : '']
                : []),
            ]),
          ],
          'lrrl',
        ),
        ...(isBeyond && rivals.bound !== null
          ? [
              `beyond the bound: not shown to cost bystanders at most ${shortPercent(rivals.bound)}, whatever its numbers, or found to cost more`,
            ]
          : []),
        ...(isBeaten ? [] : [rivals.verdict.text]),
      ]
    : ['rivals were not compared: kd-spec rivals does it in this workspace'];
  const made = [
    `file: ${relative(folder, file)}, ${byteSize(bytes)}, ${specialistsOf(added)} more; run on ${count(compared.images)} test images, it ` +
      `predicts what was measured, within ${compared.maxDifference.toPrecision(2)}`,
    `report: ${relative(folder, report)}`,
  ];
  const parts = [isBeaten ? [rivals.verdict.text] : [], change, instead, made];
  return parts
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n');
}

const specialistsOf = (number: number) => `${count(number)} ${number === 1 ? 'specialist' : 'specialists'}`;

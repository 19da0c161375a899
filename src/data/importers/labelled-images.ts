import { ImportFindings } from '../import-report.js';
import type { DatasetSource, SplitName } from '../source.js';
import { decodeImages, type EncodedImage } from './decode-images.js';
import { type DividedRows, RowLabels, rowsOfSplit } from './divided-rows.js';
import { type GroupKey, parseGroupKey } from './group-key.js';
import { importChoices, namesOf, type TableOptions } from './importer.js';

/** Where an importer puts what it finds, and what it is to look for. */
export interface LabelledRows {
  /** Gets the rows of each part in their order. */
  readonly rows: RowLabels;
  readonly group: GroupKey | undefined;
  readonly findings: ImportFindings;
  readonly seed: number;
}

/** The images of a split, in the order in which they are to be stored. */
export type ImagesOfSplit = (
  divided: DividedRows,
  split: SplitName,
) => Iterable<EncodedImage> | AsyncIterable<EncodedImage>;

/**
 * A source of images that have their labels, parts and groups in rows beside them.
 *
 * @param source its path
 * @param description for a person
 * @param index reads the rows, not the images, and returns what reads the images of a split
 * @throws KdSpecError `option-invalid` for a group key that is none, and what dividing the rows throws
 */
export async function labelledImages(
  source: string,
  options: TableOptions,
  description: string,
  index: (into: LabelledRows) => Promise<ImagesOfSplit>,
): Promise<DatasetSource> {
  const { image, validationFraction, testFraction, onError, seed } = importChoices(options);
  const findings = new ImportFindings();
  const group = options.group === undefined ? undefined : parseGroupKey(options.group);
  const rows = new RowLabels();
  const imagesOf = await index({ rows, group, findings, seed });
  const divided = rows.divide({
    place: source,
    names: await namesOf(options),
    group: options.group,
    fractions: { validation: validationFraction, test: testFraction },
    seed,
    findings,
  });
  return {
    description,
    classes: divided.classes,
    numbersFrom: divided.numbersFrom,
    image,
    augmentation: { kind: 'shift', pixels: 2 },
    count: (split) => rowsOfSplit(divided, split).rows.length,
    images: (split) => decodeImages(imagesOf(divided, split), image, findings),
    report: () => findings.report(onError),
  };
}

import { z } from 'zod';
import { KdSpecError } from '../../core/errors.js';
import type { ImportFindings } from '../import-report.js';

/** The features of a Hugging Face data set by column, as `dataset_info.json` has them. */
export type Features = Readonly<Record<string, unknown>>;

/** The column that tells the class of each image. */
export interface LabelColumn {
  readonly column: string;
  readonly kind: 'ClassLabel' | 'integers' | 'strings';
  /** The classes of a ClassLabel; of the others, the values are the classes. */
  readonly names: readonly string[] | undefined;
  /** Whether a person named the column. */
  readonly isNamed: boolean;
}

const classLabel = z.object({ _type: z.literal('ClassLabel'), names: z.array(z.string()) });
const imageFeature = z.object({ _type: z.literal('Image') });
const binary = z.object({ _type: z.literal('Value'), dtype: z.enum(['binary', 'large_binary']) });
const integer = z.object({ _type: z.literal('Value'), dtype: z.string().regex(/^u?int(8|16|32|64)$/) });
const string = z.object({ _type: z.literal('Value'), dtype: z.enum(['string', 'large_string']) });
const fits = (schema: z.ZodType) => (feature: unknown) => schema.safeParse(feature).success;

/** What columns of encoded images are called, in the singular or the plural. */
const imageNames = /^(image|img|picture|photo|jpe?g|png)s?(_?(bytes|data))?$/i;

/**
 * The column of images: the one that is wanted, or else the only one with the feature Image, or else the only one of
 * bytes, where it is called so.
 *
 * @param findings told of what is assumed
 * @throws KdSpecError `dataset-invalid` when there is no such column, or more than one
 */
export function chooseImageColumn(
  features: Features,
  wanted: string | undefined,
  path: string,
  findings: ImportFindings,
): string {
  const names = Object.keys(features);
  const images = names.filter((name) => fits(imageFeature)(features[name]));
  const binaries = names.filter((name) => fits(binary)(features[name]));
  if (wanted === undefined && images.length === 0 && binaries.length > 0) {
    if (binaries.length === 1 && imageNames.test(binaries[0])) {
      findings.note('a column of bytes, which are taken for encoded images', binaries[0]);
      return binaries[0];
    }
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected a column of images, found bytes that may be some in ${binaries.join(', ')} (all columns: ` +
        `${names.join(', ')}): if they are encoded images, say so with --image-column ${binaries[0]}`,
    );
  }
  const allowed = wanted === undefined ? images : binaries;
  return choose([...images, ...allowed], wanted, { what: 'images', flag: '--image-column', names, path });
}

/**
 * The column of labels: the one that is wanted, or else the only ClassLabel, or else the only one of integers or strings.
 *
 * @param flag named it
 * @throws KdSpecError `dataset-invalid` when there is no such column, or more than one
 */
export function chooseLabelColumn(
  features: Features,
  wanted: string | undefined,
  path: string,
  flag: '--label-column' | '--group' = '--label-column',
): LabelColumn {
  const names = Object.keys(features);
  const labels = names.filter((name) => fits(classLabel)(features[name]));
  const values = names.filter((name) => fits(integer)(features[name]) || fits(string)(features[name]));
  const candidates = wanted !== undefined ? [...labels, ...values] : labels.length > 0 ? labels : values;
  const name = choose(candidates, wanted, {
    what: flag === '--group' ? 'groups' : 'labels',
    flag,
    names,
    path,
  });
  const isNamed = wanted !== undefined;
  const parsed = classLabel.safeParse(features[name]);
  if (parsed.success) return { column: name, kind: 'ClassLabel', names: parsed.data.names, isNamed };
  const kind = fits(integer)(features[name]) ? 'integers' : 'strings';
  return { column: name, kind, names: undefined, isNamed };
}

function choose(
  candidates: readonly string[],
  wanted: string | undefined,
  place: {
    readonly what: 'images' | 'labels' | 'groups';
    readonly flag: string;
    readonly names: readonly string[];
    readonly path: string;
  },
): string {
  const { what, flag, names, path } = place;
  const distinct = [...new Set(candidates)];
  const list = (columns: readonly string[]) => (columns.length > 0 ? columns.join(', ') : 'none');
  if (wanted !== undefined) {
    if (distinct.includes(wanted)) return wanted;
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected ${flag} to name a column of ${what}, which are ${list(distinct)}; found "${wanted}" ` +
        `(all columns: ${list(names)})`,
    );
  }
  if (distinct.length === 1) return distinct[0];
  const advice =
    distinct.length > 1
      ? `choose one with ${flag}`
      : what === 'images'
        ? 'cast one to datasets.Image in Python, or, if the columns hold the numbers of a feature vector each, put these into one list column, features'
        : 'cast one to datasets.ClassLabel, integers or strings in Python';
  throw new KdSpecError(
    'dataset-invalid',
    `${path}: expected one column of ${what}, found ${list(distinct)} (all columns: ${list(names)}): ${advice}`,
  );
}

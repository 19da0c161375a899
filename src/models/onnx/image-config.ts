import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { KdSpecError } from '../../core/errors.js';
import { systemErrorCode } from '../../core/file-error.js';
import type { Sides } from '../../data/source.js';
import { invalid } from './model-file.js';
import type { Normalisation } from './reading.js';

// What `preprocessor_config.json` or `config.json` beside a model says about its images. A value that somebody wrote and that
// cannot be meant is refused where it counts; what is not used is told.

/** One thing that a file beside a model says. */
interface Field {
  readonly path: string;
  readonly key: string;
  readonly value: unknown;
}

/** What files beside a model say about its images. */
export interface ImageConfig {
  readonly size?: Field & Sides;
  /** Read where nothing else decides. */
  readonly normalisation?: Readonly<
    Record<'isRescaled' | 'factor' | 'isNormalised' | 'mean' | 'deviation', Field>
  >;
}

/** `preprocessor_config.json` as transformers writes it, or `config.json` as timm does. */
export async function readImageConfig(path: string, warnings: string[]): Promise<ImageConfig> {
  const folder = dirname(path);
  const [ofPreprocessor, ofConfig] = ['preprocessor_config.json', 'config.json'].map((file) =>
    join(folder, file),
  );
  const preprocessor = await readJson(ofPreprocessor, warnings);
  const config = await readJson(ofConfig, warnings);
  const timm = record(config?.pretrained_cfg);
  const said = (key: string): Field => ({ path: ofPreprocessor, key, value: preprocessor?.[key] });
  const saidByTimm = (key: string): Field => ({
    path: ofConfig,
    key: `pretrained_cfg.${key}`,
    value: timm?.[key],
  });
  const [size] = [said('crop_size'), said('size'), saidByTimm('input_size')].flatMap((field) => {
    const sides = sizeOf(field.value);
    return sides ? [{ ...field, ...sides }] : [];
  });
  const isTimm = preprocessor === undefined;
  const [mean, deviation] = isTimm ? ['mean', 'std'].map(saidByTimm) : ['image_mean', 'image_std'].map(said);
  const normalisation = {
    isRescaled: said('do_rescale'),
    factor: said('rescale_factor'),
    isNormalised: said('do_normalize'),
    mean,
    deviation,
  };
  return { ...(size && { size }), ...((preprocessor ?? timm) && { normalisation }) };
}

/** The error of a value that somebody wrote and that cannot be meant. */
export function unusable({ path, key, value }: Field, expected: string, flags: string): KdSpecError {
  const text = JSON.stringify(value) ?? 'nothing';
  const found = text.length > 60 ? `${text.slice(0, 60)}...` : text;
  return invalid(
    path,
    `"${key}": expected ${expected}, found ${found}: correct it, or give ${flags} instead`,
  );
}

const normalisationFlags = '--image-mean and --image-std';

/** @throws KdSpecError `checkpoint-invalid` */
export function normalisationOfConfig(
  { isRescaled, factor, isNormalised, mean, deviation }: Required<ImageConfig>['normalisation'],
  channels: number,
  { notes, warnings }: { readonly notes: string[]; readonly warnings: string[] },
): Normalisation | undefined {
  const isOn = (field: Field) => {
    if (typeof (field.value ?? true) !== 'boolean')
      throw unusable(field, 'true or false', normalisationFlags);
    return field.value !== false;
  };
  const refuseValue = (field: Field, expected: string): never => {
    throw unusable(field, expected, normalisationFlags);
  };
  const { path } = mean;
  const factorRead = isOn(isRescaled) ? (factor.value ?? 1 / 255) : 1;
  if (typeof factorRead !== 'number' || !Number.isFinite(factorRead) || factorRead <= 0)
    return refuseValue(factor, 'a number over 0');
  const isUsed = isOn(isNormalised);
  const absent = [mean, deviation].filter(({ value }) => isUsed && (value ?? undefined) === undefined);
  if (absent.length > 0) {
    const [{ key }] = absent;
    const other = key === mean.key ? deviation.key : mean.key;
    if (absent.length === 1)
      warnings.push(`${path}: "${other}" stands there without "${key}" and is not used`);
    return undefined;
  }
  const expected = channels === 1 ? 'a number' : `one number, or ${channels}`;
  const read = (field: Field, otherwise: number) => {
    if (!isUsed) return [otherwise];
    const values = numbers(typeof field.value === 'number' ? [field.value] : field.value);
    if (values === undefined || ![1, 3, channels].includes(values.length))
      return refuseValue(field, expected);
    return new Set(values).size === 1 ? values.slice(0, 1) : values;
  };
  const [means, deviations] = [read(mean, 0), read(deviation, 1)];
  if (deviations.includes(0)) return refuseValue(deviation, 'numbers other than 0');
  const wider = [mean, deviation].filter((_, at) => [means, deviations][at].length > channels);
  if (wider.length > 0) {
    const keys = wider.map(({ key }) => `"${key}"`).join(' and ');
    warnings.push(`${path}: ${keys}: 3 numbers for images of one channel, which are not used`);
    return undefined;
  }
  // What the file says is about values of 0 to 255 times the factor; here they are 0 to 1.
  const scale = 1 / (255 * factorRead);
  const wide = (values: readonly number[]) =>
    Array.from(
      { length: channels },
      (_, channel) => scale * (values.length === 1 ? values[0] : values[channel]),
    );
  const found = { mean: wide(means), deviation: wide(deviations) };
  const ends = found.mean.flatMap((value, at) =>
    [0, 1].map((pixel) => (pixel - value) / found.deviation[at]),
  );
  if (!ends.every((value) => Number.isFinite(Math.fround(value)))) {
    const blamed = factor.value === undefined ? deviation : factor;
    return refuseValue(blamed, 'one with which images are finite numbers');
  }
  const file = basename(path);
  notes.push(`mean and deviation are those of ${file}`);
  return { name: `as ${file} says`, ...found };
}

/** @returns undefined where there is no such file, and where it is not one: that is told */
async function readJson(
  path: string,
  warnings: string[],
): Promise<Readonly<Record<string, unknown>> | undefined> {
  let what: string;
  try {
    const text = await readFile(path, 'utf8');
    const read = record(JSON.parse(text.replace(/^\uFEFF/, '')));
    if (read) return read;
    what = 'is no JSON object';
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT') return undefined;
    what = code === undefined ? 'is not JSON' : `cannot be read (${code})`;
  }
  warnings.push(`${path} ${what} and was not used`);
  return undefined;
}

function record(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return Object.fromEntries(Object.entries(value));
}

function numbers(value: unknown): readonly number[] | undefined {
  return Array.isArray(value) && value.every((one) => Number.isFinite(one)) ? value.map(Number) : undefined;
}

/** `224`, `[3, 224, 224]`, `{height, width}` or `{shortest_edge}`. */
function sizeOf(value: unknown): { readonly height: number; readonly width: number } | undefined {
  const list = numbers(value);
  if (list && list.length >= 2) return { height: list[list.length - 2], width: list[list.length - 1] };
  const { height, width, shortest_edge: edge } = record(value) ?? {};
  if (typeof height === 'number' && typeof width === 'number') return { height, width };
  const both = typeof value === 'number' ? value : edge;
  return typeof both === 'number' ? { height: both, width: both } : undefined;
}

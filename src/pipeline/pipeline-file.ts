import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { isMap, isScalar, LineCounter, type Node, parseDocument, type YAMLMap } from 'yaml';
import { KdSpecError } from '../core/errors.js';
import { withFileErrors } from '../core/file-error.js';
import type { JsonValue } from '../core/json.js';
import { suggestion } from '../core/nearest-name.js';
import { packageFolder } from '../core/package.js';
import { pipelineOptions } from './option-list.js';
import { isOption, type OptionTable } from './option-types.js';
import { checkValue } from './option-values.js';
import { generalOptions } from './options/general-options.js';
import { stageOptions } from './options.js';

/** A value of a pipeline file and the place it stands in, as `path:line`. */
interface PlacedValue {
  readonly value: JsonValue;
  readonly where: string;
}

/** The values of a pipeline file by option key, e.g. `generalist.network.dense`. */
export interface PipelineFile {
  readonly path: string;
  readonly values: ReadonlyMap<string, PlacedValue>;
}

const inPipeline: ReadonlySet<string> = new Set(pipelineOptions.map(({ path }) => path[0] ?? ''));
const pipelineTable: OptionTable = Object.fromEntries(
  Object.entries({ ...generalOptions, ...stageOptions }).filter(([key]) => inPipeline.has(key)),
);

/**
 * Reads a pipeline file: general options at the top, then a mapping for each stage.
 *
 * @throws KdSpecError `not-found`, `not-readable`; `pipeline-invalid` with `path:line` for text that is not YAML,
 * a key that no option has (with the nearest that one has), or a value outside its option's range
 */
export async function readPipelineFile(path: string): Promise<PipelineFile> {
  return readOptions(path, pipelineTable, []);
}

/**
 * The defaults of a data set that comes with kd-spec: `datasets/<name>/dataset.yaml`, a mapping like the `dataset`
 * section of a pipeline file.
 *
 * @returns undefined when no such data set comes with kd-spec
 */
export async function readDatasetDefaults(
  name: string,
  { datasetsFolder = join(packageFolder(), 'datasets') }: { datasetsFolder?: string } = {},
): Promise<PipelineFile | undefined> {
  if (!/^[a-z0-9][a-z0-9-]*$/.test(name)) return undefined;
  const path = join(datasetsFolder, name, 'dataset.yaml');
  return existsSync(path) ? readOptions(path, stageOptions.dataset, ['dataset']) : undefined;
}

/**
 * A student's definition: a mapping like the `student` section of a pipeline file.
 *
 * @throws as {@link readPipelineFile}
 */
export async function readStudentFile(path: string): Promise<PipelineFile> {
  const { definition, ...options } = stageOptions.student;
  return readOptions(path, options, ['student']);
}

/**
 * The pipeline file that a user names: a path, or the name of one that comes with kd-spec.
 *
 * @throws KdSpecError `not-found` with the names there are
 */
export async function findPipelineFile(name: string, folder: string): Promise<string> {
  const path = resolve(folder, name);
  if (existsSync(path)) return path;
  const own = join(packageFolder(), 'pipelines');
  const stem = basename(name).replace(/\.ya?ml$/, '');
  const isShort = dirname(name) === '.' || dirname(name) === 'pipelines';
  const packaged = join(own, `${stem}.yaml`);
  if (isShort && existsSync(packaged)) return packaged;
  const names = (await readdir(own)).map((file) => file.replace(/\.yaml$/, ''));
  throw new KdSpecError(
    'not-found',
    `expected a pipeline file, found nothing at ${path}: check the path, or name one that comes with kd-spec: ` +
      `${names.join(', ')}${suggestion(stem, names)}`,
  );
}

async function readOptions(
  path: string,
  table: OptionTable,
  prefix: readonly string[],
): Promise<PipelineFile> {
  const text = await withFileErrors(path, () => readFile(path, 'utf8'));
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const lineOf = (offset: number) => `${path}:${lines.linePos(offset).line}`;
  const [error] = document.errors;
  if (error) throw invalid(lineOf(error.pos[0]), `not YAML: ${error.message.split('\n')[0]}`);

  const values = new Map<string, PlacedValue>();
  const root = document.contents;
  if (root === null || (isScalar(root) && root.value === null)) return { path, values };
  const walk = (node: Node | null, options: OptionTable, keys: readonly string[], where: string) => {
    if (!isMap(node)) {
      throw invalid(where, `${keys.join('.') || 'the file'} is to be a mapping of ${names(options)}`);
    }
    for (const [key, value, at] of entriesOf(node, lineOf)) {
      const entry = Object.hasOwn(options, key) ? options[key] : undefined;
      const path = [...keys, key];
      if (entry === undefined) {
        const meant = suggestion(key, Object.keys(options)) || elsewhere(key);
        throw invalid(at, `unknown key "${path.join('.')}"${meant}; expected one of ${names(options)}`);
      }
      if (!isOption(entry)) {
        walk(value, entry, path, at);
        continue;
      }
      const plain: JsonValue = value?.toJS(document) ?? null;
      const checked = checkValue(entry, plain);
      if ('expected' in checked) {
        throw invalid(at, `${path.join('.')}: expected ${checked.expected}, got ${JSON.stringify(plain)}`);
      }
      values.set(path.join('.'), { value: checked.value, where: at });
    }
  };
  walk(root, table, prefix, `${path}:1`);
  return { path, values };
}

function* entriesOf(
  map: YAMLMap,
  lineOf: (offset: number) => string,
): Generator<readonly [key: string, value: Node | null, where: string]> {
  for (const { key, value } of map.items) {
    const at = isScalar(key) && key.range ? lineOf(key.range[0]) : lineOf(map.range?.[0] ?? 0);
    yield [isScalar(key) ? String(key.value) : String(key), value as Node | null, at];
  }
}

/** Where a key that stands in the wrong section belongs. */
function elsewhere(key: string): string {
  const places = pipelineOptions.filter(({ path }) => path.at(-1) === key).map(({ path }) => path.join('.'));
  return places.length === 0 ? '' : ` (there is ${places.join(', ')})`;
}

function names(options: OptionTable): string {
  return Object.keys(options).join(', ');
}

function invalid(where: string, what: string): KdSpecError {
  return new KdSpecError('pipeline-invalid', `${where}: ${what}`);
}

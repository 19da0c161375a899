import { existsSync } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, visit } from 'yaml';
import { KdSpecError } from '../core/errors.js';
import { withFileErrors } from '../core/file-error.js';
import { foreignKind } from '../core/file-kind.js';
import type { JsonValue } from '../core/json.js';
import { suggestion } from '../core/nearest-name.js';
import { packageFolder } from '../core/package.js';
import { pipelineOptions } from './option-list.js';
import { isOption, type OptionTable } from './option-types.js';
import { checkValue } from './option-values.js';
import { generalOptions } from './options/general-options.js';
import { commandOptions, stageOptions } from './options.js';

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
  Object.entries({ ...generalOptions, ...stageOptions, ...commandOptions }).filter(([key]) =>
    inPipeline.has(key),
  ),
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
  const { value: root, node, document, lineOf } = parseYaml(await readText(path), path);
  const values = new Map<string, PlacedValue>();
  if (root === null) return { path, values };
  const walk = (
    mapping: unknown,
    node: unknown,
    options: OptionTable,
    keys: readonly string[],
    where: string,
  ) => {
    if (typeof mapping !== 'object' || mapping === null || Array.isArray(mapping)) {
      throw invalid(where, `${keys.join('.') || 'the file'} is to be a mapping of ${names(options)}`);
    }
    for (const [key, value] of Object.entries(mapping)) {
      const found = findKey(node, key, document);
      const at = found?.offset === undefined ? where : lineOf(found.offset);
      const entry = Object.hasOwn(options, key) ? options[key] : undefined;
      const path = [...keys, key];
      if (entry === undefined) {
        const meant = suggestion(key, Object.keys(options)) || elsewhere(key);
        throw invalid(at, `unknown key ${shown(path.join('.'))}${meant}; expected one of ${names(options)}`);
      }
      if (!isOption(entry)) {
        walk(value, found?.value, entry, path, at);
        continue;
      }
      const checked = checkValue(entry, value ?? null);
      if ('expected' in checked) {
        throw invalid(at, `${path.join('.')}: expected ${checked.expected}, got ${shown(value)}`);
      }
      values.set(path.join('.'), { value: checked.value, where: at });
    }
  };
  walk(root, node, table, prefix, `${path}:1`);
  return { path, values };
}

const mostBytes = 2 ** 20; // of a pipeline file: more is something else, such as a device

async function readText(path: string): Promise<string> {
  return withFileErrors(path, async () => {
    const file = await open(path);
    try {
      const buffer = Buffer.alloc(mostBytes + 1);
      let length = 0;
      while (length < buffer.length) {
        const { bytesRead } = await file.read(buffer, length, buffer.length - length);
        if (bytesRead === 0) {
          const kind = length === 0 ? undefined : foreignKind(buffer.subarray(0, Math.min(length, 256)));
          if (kind === undefined) return buffer.toString('utf8', 0, length);
          throw new KdSpecError('pipeline-invalid', `${path}: expected YAML, but ${kind}`);
        }
        length += bytesRead;
      }
    } finally {
      await file.close();
    }
    throw new KdSpecError(
      'pipeline-invalid',
      `${path}: expected a pipeline file of at most ${mostBytes.toLocaleString('en')} bytes, got more: check the path`,
    );
  });
}

interface ParsedYaml {
  /** Aliases and merge keys (`<<`) resolved; null for an empty file. */
  readonly value: unknown;
  readonly node: unknown;
  readonly document: Document;
  /** `path:line` of a place in the text. */
  readonly lineOf: (offset: number) => string;
}

/** Parses YAML; whatever the library throws about the text becomes `pipeline-invalid`. */
function parseYaml(text: string, path: string): ParsedYaml {
  const lines = new LineCounter();
  const lineOf = (offset: number) => `${path}:${lines.linePos(offset).line}`;
  const guarded = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      // Too many aliases, an alias without its anchor, or nested so deeply that the stack ends.
      const reason = error instanceof Error ? error.message : String(error);
      throw invalid(path, `not YAML that can be read: ${reason}`);
    }
  };
  const document = guarded(() => parseDocument(text, { lineCounter: lines, merge: true, logLevel: 'error' }));
  const [problem] = [...document.errors, ...document.warnings];
  if (problem)
    throw invalid(lineOf(problem.pos[0]), `not YAML: ${problem.message.split('\n')[0].replace(/:$/, '')}`);
  visit(document, {
    Alias: (_, alias) => {
      if (alias.resolve(document) !== undefined) return;
      throw invalid(
        lineOf(alias.range?.[0] ?? 0),
        `not YAML: no anchor &${alias.source} before *${alias.source}`,
      );
    },
  });
  return { value: guarded(() => document.toJS()), node: document.contents, document, lineOf };
}

const mostMerges = 10;

/** Where a key of a mapping stands, in the mapping itself or in one that it merges, and the node of its value. */
function findKey(
  node: unknown,
  key: string,
  document: Document,
  merges = 0,
): { readonly offset: number | undefined; readonly value: unknown } | undefined {
  if (merges > mostMerges) return undefined; // a mapping may merge itself
  const map = isAlias(node) ? node.resolve(document) : node;
  if (isSeq(map)) {
    for (const item of map.items) {
      const found = findKey(item, key, document, merges + 1);
      if (found) return found;
    }
  }
  if (!isMap(map)) return undefined;
  const named = (name: string) =>
    map.items.find(({ key }) => isScalar(key) && (key.source === name || String(key.value) === name));
  const pair = named(key);
  if (pair && isScalar(pair.key)) return { offset: pair.key.range?.[0], value: pair.value };
  return findKey(named('<<')?.value, key, document, merges + 1);
}

/** A value for an error message, on one short line. */
function shown(value: unknown): string {
  if (typeof value === 'number') return String(value);
  try {
    const text = JSON.stringify(value) ?? String(value);
    return text.length > 80 ? `${text.slice(0, 79)}…` : text;
  } catch {
    return 'a value that contains itself';
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

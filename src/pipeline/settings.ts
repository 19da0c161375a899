import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { assert, KdSpecError } from '../core/errors.js';
import type { JsonValue } from '../core/json.js';
import { suggestion } from '../core/nearest-name.js';
import { packageFolder } from '../core/package.js';
import { generatorNames } from '../data/importers/importers.js';
import { keyOf, type ListedOption, listedOptions, pipelineOptions } from './option-list.js';
import { checkValue, parseText } from './option-values.js';
import { ownTeachers } from './options/answers-options.js';
import { generalOptions } from './options/general-options.js';
import { type Settings, stageOptions } from './options.js';
import {
  findPipelineFile,
  type PipelineFile,
  readDatasetDefaults,
  readPipelineFile,
  readStudentFile,
} from './pipeline-file.js';

/**
 * Where a value came from, and the exact place, such as `--classes` or `pipelines/han-3k.yaml:4`. A `fallback` is a value
 * of the pipeline that is in force where nobody named one.
 */
export interface Origin {
  readonly kind: 'flag' | 'environment' | 'pipeline' | 'dataset' | 'fallback' | 'default';
  readonly where: string;
}

export interface ResolvedSettings {
  readonly settings: Settings;
  /** By option key, e.g. `dataset.classes`. */
  readonly origins: ReadonlyMap<string, Origin>;
  /** The pipeline file in force. */
  readonly pipeline: string;
  readonly warnings: readonly string[];
}

/** The pipeline file that a workspace keeps of itself. */
export const workspacePipelineFile = 'pipeline.yaml';

/** Environment names that are not options. */
const otherEnvironment: ReadonlySet<string> = new Set(['KD_SPEC_DEBUG', 'KD_SPEC_NATIVE']);

const defaultSource = stageOptions.dataset.source.default;
/** Of the specialists of an imported model: most of its classes lie outside every subset. */
const headOfImported = 'anchored' satisfies Settings['specialists']['head'];
const fromTable: Origin = { kind: 'default', where: 'default' };

interface Found {
  readonly value: JsonValue;
  readonly origin: Origin;
}

/**
 * The settings in force, and where each comes from.
 *
 * A flag goes before its environment variable, that before the student's file (`--student`), that before the pipeline
 * in force, that before the defaults of the data set (`datasets/<name>/dataset.yaml`), and these before the table. The
 * pipeline in force is the one that `--pipeline` names, else the workspace's own, else `pipelines/default.yaml`. When
 * flag or environment choose another data set than the pipeline does, the pipeline's `dataset` section describes the
 * wrong one and does not apply.
 *
 * @param flags by flag without dashes; text as typed, or a boolean
 * @param env the environment; only `KD_SPEC_*` is read
 * @param options.folder where relative paths of flags and environment start; those in a file start at its folder
 * @throws KdSpecError `option-invalid` or `pipeline-invalid` naming the flag, variable or `path:line`
 */
export async function resolveSettings(
  flags: Readonly<Record<string, string | boolean | undefined>>,
  env: Readonly<Record<string, string | undefined>>,
  {
    folder = process.cwd(),
    defaultPipeline = join(packageFolder(), 'pipelines', 'default.yaml'),
    datasetsFolder = join(packageFolder(), 'datasets'),
  }: { folder?: string; defaultPipeline?: string; datasetsFolder?: string } = {},
): Promise<ResolvedSettings> {
  const typed = new Map<string, Found>();
  for (const listed of listedOptions) {
    const found = fromFlag(listed, flags[listed.flag], folder) ?? fromEnvironment(listed, env, folder);
    if (found) typed.set(keyOf(listed), found);
  }
  const name = typed.get('pipeline')?.value;
  const named =
    typeof name === 'string' ? await readPipelineFile(await findPipelineFile(name, folder)) : undefined;
  const workspace = typed.get('workspace') ??
    (named && fromFile(named, 'workspace', 'pipeline')) ?? {
      value: resolve(folder, generalOptions.workspace.default),
      origin: fromTable,
    };
  const own = join(String(workspace.value), workspacePipelineFile);
  const isFallback = named === undefined && !existsSync(own);
  const pipeline = named ?? (await readPipelineFile(isFallback ? defaultPipeline : own));
  const kind = isFallback ? 'fallback' : 'pipeline';

  const pipelineSource = fromFile(pipeline, 'dataset.source', kind);
  const typedSource = typed.get('dataset.source');
  const source = textOf(typedSource ?? pipelineSource, defaultSource);
  const isOtherDataset = typedSource !== undefined && source !== textOf(pipelineSource, defaultSource);
  const defaults = await readDatasetDefaults(source, { datasetsFolder });

  const definition = typed.get('student.definition') ?? fromFile(pipeline, 'student.definition', kind);
  const student = definition?.value ? await readStudentFile(String(definition.value)) : undefined;

  const found = new Map<string, Found>();
  for (const listed of listedOptions) {
    const key = keyOf(listed);
    const applies = !(isOtherDataset && listed.section === 'dataset');
    found.set(
      key,
      typed.get(key) ??
        (key === 'workspace' ? workspace : undefined) ??
        (student && fromFile(student, key, 'pipeline')) ??
        (applies ? fromFile(pipeline, key, kind) : undefined) ??
        (defaults && fromFile(defaults, key, 'dataset')) ?? {
          value: listed.option.default,
          origin: fromTable,
        },
    );
  }
  if (isOpen(found, 'specialists.head') && found.get('dataset.model.onnx')?.value)
    found.set('specialists.head', { value: headOfImported, origin: fromTable });
  const settings = nest([...found].map(([key, { value }]) => [key.split('.'), value] as const));
  expectSettings(settings);
  const dropped = [...pipeline.values.keys()].filter(
    (key) => key.startsWith('dataset.') && key !== 'dataset.source' && !typed.has(key),
  );
  return {
    settings,
    origins: new Map([...found].map(([key, { origin }]) => [key, origin])),
    pipeline: pipeline.path,
    warnings: [
      ...unknownEnvironment(env),
      ...(isOtherDataset && !isFallback && dropped.length > 0
        ? [
            `${dropped.join(', ')} of ${pipeline.path} ${dropped.length === 1 ? 'is' : 'are'} for another data set ` +
              `than ${source}, and left out`,
          ]
        : []),
    ],
  };
}

/** Whether nothing but the table says what a value is. */
const isOpen = (found: ReadonlyMap<string, Found>, key: string) => found.get(key)?.origin === fromTable;

/** Whether the user chose a data set in any way, and does not merely get the one of the default pipeline. */
export function isDatasetChosen(origins: ResolvedSettings['origins']): boolean {
  return [...origins].some(
    ([key, { kind }]) =>
      key.startsWith('dataset.') && kind !== 'default' && kind !== 'dataset' && kind !== 'fallback',
  );
}

/**
 * What a workspace has to remember so that the next command goes on with the same settings: every value that was
 * given by flag, environment or pipeline, as nested mappings in the order of the table. What a command got because
 * nobody chose a data set is not given.
 */
export function rememberedValues({ settings, origins }: ResolvedSettings): {
  readonly [key: string]: JsonValue;
} {
  const isChosen = isDatasetChosen(origins);
  const given = pipelineOptions.filter((listed) => {
    const kind = origins.get(keyOf(listed))?.kind;
    if (kind === undefined || kind === 'default' || kind === 'dataset') return false;
    return (kind !== 'fallback' || isChosen) && keyOf(listed) !== 'workspace';
  });
  return nest(given.map(({ path }) => [path, settingAt(settings, path)]));
}

/** The value of an option in settings. */
export function settingAt(settings: Settings, path: readonly string[]): JsonValue {
  let value: unknown = settings;
  for (const key of path) value = (value as Readonly<Record<string, unknown>>)[key];
  return value as JsonValue;
}

/** Each value was checked where it came from; that none is missing is checked here. */
function expectSettings(values: object): asserts values is Settings {
  for (const { path, option } of listedOptions) {
    let value: unknown = values;
    for (const key of path) value = Object(value)[key];
    assert('value' in checkValue(option, value), `${path.join('.')} is ${value}`);
  }
}

function fromFlag(
  listed: ListedOption,
  raw: string | boolean | undefined,
  folder: string,
): Found | undefined {
  if (raw === undefined) return undefined;
  const where = `--${listed.flag}`;
  const value = raw === true && listed.option.type === 'boolean' ? raw : parse(listed, String(raw), where);
  return { value: absolute(listed, value, folder), origin: { kind: 'flag', where } };
}

function fromEnvironment(
  listed: ListedOption,
  env: Readonly<Record<string, string | undefined>>,
  folder: string,
): Found | undefined {
  const where = listed.environment;
  const raw = env[where];
  if (raw === undefined || raw === '') return undefined;
  return {
    value: absolute(listed, parse(listed, raw, where), folder),
    origin: { kind: 'environment', where },
  };
}

function fromFile(file: PipelineFile, key: string, kind: Origin['kind']): Found | undefined {
  const placed = file.values.get(key);
  const listed = listedOptions.find((option) => keyOf(option) === key);
  if (placed === undefined || listed === undefined) return undefined;
  return { value: absolute(listed, placed.value, dirname(file.path)), origin: { kind, where: placed.where } };
}

function parse({ option }: ListedOption, text: string, where: string): JsonValue {
  const checked = parseText(option, text);
  if ('value' in checked) return checked.value;
  throw new KdSpecError('option-invalid', `${where}: expected ${checked.expected}, got "${text}"`);
}

/** Paths, wherever they were given, start at the root of the file system from here on. */
function absolute(listed: ListedOption, value: JsonValue, folder: string): JsonValue {
  const key = keyOf(listed);
  if (listed.option.type === 'path' && typeof value === 'string') return resolve(folder, value);
  if (key === 'dataset.source' && typeof value === 'string')
    return isBuiltIn(value) ? value : resolve(folder, value);
  if (key === 'answers.teachers' && Array.isArray(value)) {
    const own: readonly string[] = ownTeachers;
    return value.map((name: JsonValue) =>
      typeof name === 'string' && !own.includes(name) ? resolve(folder, name) : name,
    );
  }
  if (key === 'dataset.fonts' && Array.isArray(value)) {
    const font = (name: JsonValue) =>
      typeof name === 'string' && /^\.{1,2}\//.test(name) ? resolve(folder, name) : name;
    return value.map((entry: JsonValue) => (Array.isArray(entry) ? entry.map(font) : font(entry)));
  }
  return value;
}

function isBuiltIn(source: string): boolean {
  return generatorNames.some((name) => name === source);
}

function textOf(found: Found | undefined, otherwise: string): string {
  return typeof found?.value === 'string' ? found.value : otherwise;
}

function unknownEnvironment(env: Readonly<Record<string, string | undefined>>): readonly string[] {
  const known = listedOptions.map(({ environment }) => environment);
  return Object.keys(env)
    .filter((name) => name.startsWith('KD_SPEC_') && !known.includes(name) && !otherEnvironment.has(name))
    .map((name) => `the environment variable ${name} sets no option${suggestion(name, known)}`);
}

function nest(entries: Iterable<readonly [path: readonly string[], value: JsonValue]>): {
  [key: string]: JsonValue;
} {
  const root: { [key: string]: JsonValue } = {};
  for (const [path, value] of entries) {
    let mapping = root;
    for (const key of path.slice(0, -1)) {
      mapping[key] ??= {};
      mapping = mapping[key] as { [key: string]: JsonValue };
    }
    mapping[path.at(-1) ?? ''] = value;
  }
  return root;
}

import { existsSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { KdSpecError } from '../core/errors.js';
import type { JsonValue } from '../core/json.js';
import { nearestName, suggestion } from '../core/nearest-name.js';
import { packageFolder } from '../core/package.js';
import { keyOf, type ListedOption, listedOptions, pipelineOptions } from './option-list.js';
import { parseText } from './option-values.js';
import { ownTeachers } from './options/answers-options.js';
import { builtInDatasets } from './options/dataset-options.js';
import { generalOptions } from './options/general-options.js';
import { type Settings, stageOptions } from './options.js';
import {
  type PipelineFile,
  readDatasetDefaults,
  readPipelineFile,
  readStudentFile,
} from './pipeline-file.js';

/** Where a value came from, and the exact place, such as `--classes` or `pipelines/han-3k.yaml:4`. */
interface Origin {
  readonly kind: 'flag' | 'environment' | 'pipeline' | 'dataset' | 'default';
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
const fromTable: Origin = { kind: 'default', where: 'default' };

interface Found {
  readonly value: JsonValue;
  readonly origin: Origin;
}

/**
 * The settings in force, and where each comes from.
 *
 * A flag goes before its environment variable, that before the student's file (`--student`), that before the pipeline
 * in force, that before the defaults of the data set (`datasets/<name>/dataset.yaml`), and these before the table. The pipeline in force is the file that is
 * named, else the workspace's own, else `pipelines/default.yaml`. When flag or environment choose another data set
 * than the pipeline does, the pipeline's `dataset` section describes the wrong one and does not apply.
 *
 * @param flags by flag without dashes; text as typed, or a boolean
 * @param env the environment; only `KD_SPEC_*` is read
 * @param options.pipelineFile the pipeline file that the command line names
 * @param options.folder where relative paths of flags and environment start; those in a file start at its folder
 * @throws KdSpecError `option-invalid` or `pipeline-invalid` naming the flag, variable or `path:line`
 */
export async function resolveSettings(
  flags: Readonly<Record<string, string | boolean | undefined>>,
  env: Readonly<Record<string, string | undefined>>,
  {
    pipelineFile,
    folder = process.cwd(),
    defaultPipeline = join(packageFolder(), 'pipelines', 'default.yaml'),
    datasetsFolder = join(packageFolder(), 'datasets'),
  }: { pipelineFile?: string; folder?: string; defaultPipeline?: string; datasetsFolder?: string } = {},
): Promise<ResolvedSettings> {
  const typed = new Map<string, Found>();
  for (const listed of listedOptions) {
    const found = fromFlag(listed, flags[listed.flag], folder) ?? fromEnvironment(listed, env, folder);
    if (found) typed.set(keyOf(listed), found);
  }
  const named = pipelineFile === undefined ? undefined : await readPipelineFile(pipelineFile);
  const workspace = typed.get('workspace') ??
    (named && fromFile(named, 'workspace', 'pipeline')) ?? {
      value: resolve(folder, generalOptions.workspace.default),
      origin: fromTable,
    };
  const own = join(String(workspace.value), workspacePipelineFile);
  const pipeline = named ?? (await readPipelineFile(existsSync(own) ? own : defaultPipeline));

  const pipelineSource = fromFile(pipeline, 'dataset.source', 'pipeline');
  const typedSource = typed.get('dataset.source');
  const source = textOf(typedSource ?? pipelineSource, defaultSource);
  const isOtherDataset = typedSource !== undefined && source !== textOf(pipelineSource, defaultSource);
  checkSource(source);
  const defaults = await readDatasetDefaults(source, { datasetsFolder });

  const definition = typed.get('student.definition') ?? fromFile(pipeline, 'student.definition', 'pipeline');
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
        (applies ? fromFile(pipeline, key, 'pipeline') : undefined) ??
        (defaults && fromFile(defaults, key, 'dataset')) ?? {
          value: listed.option.default,
          origin: fromTable,
        },
    );
  }
  const settings = nest(
    [...found].map(([key, { value }]) => [key.split('.'), value] as const),
  ) as unknown as Settings;
  checkTogether(settings);
  return {
    settings,
    origins: new Map([...found].map(([key, { origin }]) => [key, origin])),
    pipeline: pipeline.path,
    warnings: unknownEnvironment(env),
  };
}

/**
 * What a workspace has to remember so that the next command goes on with the same settings: every value that was
 * given by flag, environment or pipeline, as nested mappings in the order of the table.
 */
export function rememberedValues({ settings, origins }: ResolvedSettings): {
  readonly [key: string]: JsonValue;
} {
  const given = pipelineOptions.filter((listed) => {
    const kind = origins.get(keyOf(listed))?.kind;
    return kind !== undefined && kind !== 'default' && kind !== 'dataset' && keyOf(listed) !== 'workspace';
  });
  return nest(given.map(({ path }) => [path, settingAt(settings, path)]));
}

/** The value of an option in settings. */
export function settingAt(settings: Settings, path: readonly string[]): JsonValue {
  let value: unknown = settings;
  for (const key of path) value = (value as Readonly<Record<string, unknown>>)[key];
  return value as JsonValue;
}

function fromFlag(
  listed: ListedOption,
  raw: string | boolean | undefined,
  folder: string,
): Found | undefined {
  if (raw === undefined) return undefined;
  const where = `--${listed.flag}`;
  const value = typeof raw === 'boolean' ? raw : parse(listed, raw, where);
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

function fromFile(file: PipelineFile, key: string, kind: 'pipeline' | 'dataset'): Found | undefined {
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

/** Catches a misspelt name of a data set, which would otherwise be taken for the path of one. */
function checkSource(source: string): void {
  if (existsSync(source)) return;
  const meant = isBuiltIn(source) ? undefined : nearestName(basename(source), builtInDatasets);
  if (meant === undefined) return;
  throw new KdSpecError(
    'option-invalid',
    `--source: expected ${builtInDatasets.join(', ')} or a path, got "${basename(source)}": did you mean "${meant}"?`,
  );
}

function isBuiltIn(source: string): boolean {
  return builtInDatasets.some((name) => name === source);
}

function textOf(found: Found | undefined, otherwise: string): string {
  return typeof found?.value === 'string' ? found.value : otherwise;
}

function checkTogether({ subsets }: Settings): void {
  const { specialists, size, clusters, minSize, maxSize } = subsets;
  if ((specialists === null) !== (size === null)) {
    const [given, missing] = size === null ? ['--specialists', '--size'] : ['--size', '--specialists'];
    throw new KdSpecError('option-invalid', `${given} was given without ${missing}: give both, or neither`);
  }
  if (specialists !== null && clusters !== null) {
    throw new KdSpecError(
      'option-invalid',
      'expected either --clusters (a partition) or --specialists with --size (fixed subsets), got both: ' +
        'set one to none',
    );
  }
  if (minSize !== null && maxSize !== null && minSize > maxSize) {
    throw new KdSpecError('option-invalid', `--min-size ${minSize} is larger than --max-size ${maxSize}`);
  }
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

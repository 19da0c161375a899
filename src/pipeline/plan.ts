import { availableParallelism } from 'node:os';
import { findDamage, findManifest, type Manifest } from '../core/artefact.js';
import { artefactFolder, isContinuable } from '../core/artefact-writer.js';
import { assert, KdSpecError } from '../core/errors.js';
import { canonicalJson, type JsonValue } from '../core/json.js';
import { placeTeacher } from '../distillation/teacher-places.js';
import { checkSource, checks } from './checks/checks.js';
import { expectSubsetsOf } from './checks/specialists-checks.js';
import { optionsOf } from './option-list.js';
import { ownTeachers } from './options/answers-options.js';
import type { Settings } from './options.js';
import {
  allClasses,
  type DatasetOutline,
  type Outline,
  outlineArtefact,
  outlineGeneralist,
  outlineSource,
  outlineSpecialists,
  outlineStudent,
} from './outline.js';
import type { ResolvedSettings } from './settings.js';
import { sourceChanges } from './source-state.js';
import type { Stage } from './stage.js';
import { outsideInputs, stageIdentity, stageParameters } from './stage-inputs.js';
import { metricsOf } from './stage-metrics.js';
import type { StageName } from './stage-names.js';

/** What is to be done about one stage. */
export interface PlannedStage {
  readonly stage: StageName;
  /** `continue` goes on with what an interrupted run left. */
  readonly status: 'up-to-date' | 'make' | 'continue';
  /** Why it is not up to date, a sentence each. */
  readonly reasons: readonly string[];
  /** Multiplications and additions of its training; null where there is none or it is not known. */
  readonly trainingFlops: number | null;
  /** Whether training may end before it has taken so many: early stopping. */
  readonly isMost: boolean;
  /** Time of its training at the plan's rate; null where it trains nothing, a cluster does, or it is not known. */
  readonly seconds: number | null;
}

/** What a command would do. */
export interface Plan {
  readonly stages: readonly PlannedStage[];
  readonly outline: Outline;
  /** What works, but badly. */
  readonly warnings: readonly string[];
  /** At which a process trains: that of this workspace's generalist, or else an assumption. */
  readonly rate: { readonly flopsPerSecond: number; readonly isMeasured: boolean };
}

/**
 * Operations a second of a training in WebAssembly on one core of a server: 474 GFLOP in 29 s, the generalist of the
 * quickstart.
 */
export const assumedFlopsPerSecond = 15e9;

/** The state of one stage on disk, its inputs being as they are. */
export interface StageState {
  readonly manifest: Manifest | undefined;
  /** Empty when it is up to date. */
  readonly reasons: readonly string[];
}

/**
 * What has to be done for a stage's artefact to be up to date, in order, and what will come of it.
 *
 * An artefact is up to date when seed, options that affect results, and digests of inputs are those of its manifest,
 * and its files are as they were written. One whose input will be made again is planned to be made again, too; when
 * it is its turn, and the input came out the same, it is found to be up to date after all.
 *
 * @param target the last stage
 * @returns the target and all it needs, in the order of the data
 * @throws KdSpecError `option-invalid` or `usage` when a stage that is to be made cannot work with these settings;
 * `not-found` when a file named by an option does not exist
 */
export async function planStages(
  stages: readonly Stage[],
  target: StageName,
  { settings, origins }: Pick<ResolvedSettings, 'settings' | 'origins'>,
): Promise<Plan> {
  const plan: Pick<PlannedStage, 'stage' | 'status' | 'reasons'>[] = [];
  const manifests = new Map<StageName, Manifest>();
  const warnings: string[] = [];
  const warn = (message: string) => warnings.push(message);
  const digests: Record<string, string> = {};
  for (const stage of neededStages(stages, target, settings)) {
    const remade = stage.needs(settings).filter((need) => digests[need] === undefined);
    const inputs = { ...pick(digests, stage.needs(settings)), ...(await outsideInputs(stage, settings)) };
    const { manifest, reasons } = await stageState(stage, settings, inputs, { ignoring: remade });
    if (manifest) manifests.set(stage.name, manifest);
    const all = [...reasons, ...(manifest ? remade.map((need) => `its input ${need} is to be made`) : [])];
    if (manifest && all.length === 0) {
      digests[stage.name] = manifest.digest;
      plan.push({ stage: stage.name, status: 'up-to-date', reasons: [] });
      if (stage.name === 'dataset') await checkSourceState(settings, manifest, warn);
      continue;
    }
    const continues =
      settings.resume &&
      remade.length === 0 &&
      (await isContinuable(settings.workspace, stage.name, stageIdentity(stage, settings, inputs)));
    plan.push({ stage: stage.name, status: continues ? 'continue' : 'make', reasons: all });
  }

  const toMake = plan.filter(({ status }) => status !== 'up-to-date').map(({ stage }) => stage);
  if (toMake.includes('dataset')) await checkSource({ settings, origins });
  const current = (stage: StageName) => (toMake.includes(stage) ? undefined : manifests.get(stage));
  const outline = await outlineOf(
    plan.map(({ stage }) => stage),
    settings,
    current,
  );
  for (const stage of toMake) checks[stage]({ settings, origins, outline, warn });
  await checkGivenPredictions(settings, outline.dataset, toMake);
  if (toMake.includes('answers')) await checkTeachers(settings, outline.dataset);

  const measured = trainingRate(manifests.get('generalist'));
  const rate = { flopsPerSecond: measured ?? assumedFlopsPerSecond, isMeasured: measured !== undefined };
  const costs: Partial<Record<StageName, number | null | undefined>> = {
    generalist: outline.generalist?.trainingFlops,
    specialists: outline.specialists?.trainingFlops,
    student: outline.student?.trainingFlops,
  };
  const staged = plan.map((planned): PlannedStage => {
    const isDone = planned.status === 'up-to-date';
    const trainingFlops = isDone ? null : (costs[planned.stage] ?? null);
    const processes = planned.stage === 'specialists' ? processesOf(outline.specialists) : 1;
    return {
      ...planned,
      trainingFlops,
      isMost:
        planned.stage === 'generalist' && trainingFlops !== null && settings.generalist.patience !== null,
      seconds:
        trainingFlops === null || processes === 0 ? null : trainingFlops / rate.flopsPerSecond / processes,
    };
  });
  return { stages: staged, outline, warnings, rate };
}

/** A source that changed after its import is told of, not imported again: that would make all stages again. */
async function checkSourceState(
  settings: Settings,
  manifest: Manifest,
  warn: (message: string) => void,
): Promise<void> {
  for (const { source, change } of await sourceChanges(
    settings,
    metricsOf('dataset', manifest.metrics) ?? {},
  ))
    warn(
      `${source} has changed since it was imported (${change}), and the data set is still what it was: to import it ` +
        `again, remove ${artefactFolder(settings.workspace, 'dataset')} and repeat the command`,
    );
}

/** How many processes of this machine train specialists, 0 where a cluster does; where memory is to decide, one a core. */
function processesOf(specialists: Outline['specialists']): number {
  const { processes = 1, count = 1 } = specialists ?? {};
  return Math.min(processes ?? availableParallelism(), Math.max(1, count));
}

/** @param current the manifest of a stage that is up to date */
async function outlineOf(
  planned: readonly StageName[],
  settings: Settings,
  current: (stage: StageName) => Manifest | undefined,
): Promise<Outline> {
  const made = current('dataset');
  const dataset = !planned.includes('dataset')
    ? null
    : made
      ? await outlineArtefact(settings, made)
      : await outlineSource(settings);
  const generalist = outlineGeneralist(settings, dataset);
  const sizes = planned.includes('subsets')
    ? await subsetSizes(settings, dataset, current('subsets'))
    : undefined;
  return {
    dataset,
    generalist: planned.includes('generalist') ? generalist : null,
    specialists: planned.includes('specialists')
      ? outlineSpecialists(settings, dataset, generalist, sizes)
      : null,
    student: planned.includes('student') ? outlineStudent(settings, dataset) : null,
  };
}

/** Classes of each subset, where the subsets are there already, in the workspace or in a file of the user's. */
async function subsetSizes(
  { subsets: { file } }: Settings,
  dataset: DatasetOutline | null,
  made: Manifest | undefined,
): Promise<readonly number[] | undefined> {
  const classes = knownClasses(dataset);
  if (made) {
    const metrics = metricsOf('subsets', made.metrics);
    if (metrics && classes !== null) expectSubsetsOf(classes, metrics.classes, 'the workspace');
    return metrics?.classesBySubset.map(({ size }) => size);
  }
  if (file === null) return undefined;
  const { readSubsets } = await import('../ensemble/subsets/subsets-file.js');
  const given = await readSubsets(file);
  if (classes !== null) expectSubsetsOf(classes, given.classes, file);
  return given.subsets.map(({ classes }) => classes.length);
}

/** Predictions that are given as files are for the classes of the data set; files that do not say are checked as they are read. */
async function checkGivenPredictions(
  { subsets, answers }: Settings,
  dataset: DatasetOutline | null,
  toMake: readonly StageName[],
): Promise<void> {
  const classes = knownClasses(dataset);
  if (classes === null) return;
  const own: readonly string[] = ownTeachers;
  const paths = [
    ...(toMake.includes('subsets') && subsets.predictions !== null ? [subsets.predictions] : []),
    ...(toMake.includes('answers') ? answers.teachers.filter((name) => !own.includes(name)) : [])
      .map(placeTeacher)
      .filter(({ kind }) => kind === 'predictions')
      .map(({ path }) => path),
  ];
  if (paths.length === 0) return;
  const { readPredictions } = await import('../data/predictions.js');
  for (const path of paths) await readPredictions(path, { classes });
}

/** Teachers outside the workspace take images of the data set's shape, where that is known already. */
async function checkTeachers({ answers }: Settings, dataset: DatasetOutline | null): Promise<void> {
  const own: readonly string[] = ownTeachers;
  const others = answers.teachers.filter((name) => !own.includes(name));
  if (others.length === 0 || !dataset?.image) return;
  const { expectTeacherTakes } = await import('../distillation/teachers.js');
  for (const name of others) await expectTeacherTakes(name, dataset.image);
}

/** Classes of the data set, with those of an imported model that have no images; null while they are not known. */
function knownClasses(dataset: DatasetOutline | null): number | null {
  return dataset?.isExact ? allClasses(dataset) : null;
}

/** Operations of training a second, as the generalist of this workspace was trained; a refitted layer tells little. */
function trainingRate(generalist: Manifest | undefined): number | undefined {
  const { trainingFlops, trainingSeconds, imported } =
    (generalist && metricsOf('generalist', generalist.metrics)) ?? {};
  return trainingFlops && trainingSeconds && !imported ? trainingFlops / trainingSeconds : undefined;
}

/**
 * Whether an artefact is what its stage would make now, and why not.
 *
 * @param inputs the digests of its inputs
 * @param options.ignoring inputs of which nothing is known yet
 */
export async function stageState(
  stage: Stage,
  settings: Settings,
  inputs: Readonly<Record<string, string>>,
  { ignoring = [] }: { ignoring?: readonly string[] } = {},
): Promise<StageState> {
  const folder = artefactFolder(settings.workspace, stage.name);
  let manifest: Manifest | undefined;
  try {
    manifest = await findManifest(folder);
  } catch (error) {
    if (error instanceof KdSpecError && error.code === 'artefact-corrupt') {
      return { manifest: undefined, reasons: ['its manifest is damaged'] };
    }
    throw error;
  }
  if (manifest === undefined) return { manifest, reasons: ['missing'] };

  const damage = await findDamage(folder, manifest);
  return {
    manifest,
    reasons: [
      ...(manifest.seed === settings.seed ? [] : [`seed ${manifest.seed} → ${settings.seed}`]),
      ...changedParameters(stage.name, settings, manifest),
      ...changedInputs(inputs, manifest, ignoring),
      ...(damage === undefined ? [] : [`its files are damaged: ${damage}`]),
    ],
  };
}

/** The target and everything it needs, in the order of the data. */
export function neededStages(
  stages: readonly Stage[],
  target: StageName,
  settings: Settings,
): readonly Stage[] {
  const needed = new Set<StageName>([target]);
  for (const stage of [...stages].reverse()) {
    if (needed.has(stage.name)) for (const need of stage.needs(settings)) needed.add(need);
  }
  const found = stages.filter(({ name }) => needed.has(name));
  assert(found.length === needed.size, `a stage is missing: ${[...needed]}`);
  return found;
}

/** One line for a person: `dataset: up to date; generalist: missing`. */
export function describePlan(plan: readonly PlannedStage[]): string {
  const words = { 'up-to-date': 'up to date', make: 'to be made', continue: 'to be continued' };
  return plan
    .map(({ stage, status, reasons }) => {
      const why = reasons.length === 0 ? '' : ` (${reasons.join(', ')})`;
      return `${stage}: ${words[status]}${why}`;
    })
    .join('; ');
}

function changedParameters(stage: StageName, settings: Settings, manifest: Manifest): readonly string[] {
  const now = stageParameters(stage, settings, 'result');
  const defaults = new Map(
    optionsOf([stage]).map(({ path, option }) => [path.slice(1).join('.'), option.default as JsonValue]),
  );
  return Object.entries(now).flatMap(([key, value]) => {
    // An option that is newer than the artefact had, in effect, its default.
    const known = Object.hasOwn(manifest.parameters, key);
    const before = (known ? manifest.parameters[key] : defaults.get(key)) ?? null;
    const [from, to] = [canonicalJson(before), canonicalJson(value)];
    return from === to ? [] : [`${key} ${readable(before)} → ${readable(value)}`];
  });
}

function changedInputs(
  inputs: Readonly<Record<string, string>>,
  manifest: Manifest,
  ignoring: readonly string[],
): readonly string[] {
  const names = new Set([...Object.keys(inputs), ...Object.keys(manifest.inputs)]);
  return [...names]
    .filter((name) => !ignoring.includes(name) && inputs[name] !== manifest.inputs[name])
    .map((name) => `its input ${name} changed`);
}

function pick(digests: Readonly<Record<string, string>>, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(digests).filter(([name]) => names.includes(name)));
}

function readable(value: JsonValue): string {
  if (value === null) return 'none';
  return Array.isArray(value) ? value.join(',') || 'none' : String(value);
}

import { findDamage, findManifest, type Manifest } from '../core/artefact.js';
import { artefactFolder, isContinuable } from '../core/artefact-writer.js';
import { assert, KdSpecError } from '../core/errors.js';
import { canonicalJson, type JsonValue } from '../core/json.js';
import { optionsOf } from './option-list.js';
import type { Settings } from './options.js';
import type { Stage } from './stage.js';
import { outsideInputs, stageIdentity, stageParameters } from './stage-inputs.js';
import type { StageName } from './stage-names.js';

/** What is to be done about one stage. */
export interface PlannedStage {
  readonly stage: StageName;
  /** `continue` goes on with what an interrupted run left. */
  readonly status: 'up-to-date' | 'make' | 'continue';
  /** Why it is not up to date, a sentence each. */
  readonly reasons: readonly string[];
}

/** The state of one stage on disk, its inputs being as they are. */
export interface StageState {
  readonly manifest: Manifest | undefined;
  /** Empty when it is up to date. */
  readonly reasons: readonly string[];
}

/**
 * What has to be done for a stage's artefact to be up to date, in order.
 *
 * An artefact is up to date when seed, options that affect results, and digests of inputs are those of its manifest,
 * and its files are as they were written. One whose input will be made again is planned to be made again, too; when
 * it is its turn, and the input came out the same, it is found to be up to date after all.
 *
 * @param target the last stage
 * @returns the target and all it needs, in the order of the data
 * @throws KdSpecError `not-found` when a file named by an option does not exist
 */
export async function planStages(
  stages: readonly Stage[],
  target: StageName,
  settings: Settings,
): Promise<readonly PlannedStage[]> {
  const plan: PlannedStage[] = [];
  const digests: Record<string, string> = {};
  for (const stage of neededStages(stages, target, settings)) {
    const remade = stage.needs(settings).filter((need) => digests[need] === undefined);
    const inputs = { ...pick(digests, stage.needs(settings)), ...(await outsideInputs(stage, settings)) };
    const { manifest, reasons } = await stageState(stage, settings, inputs, { ignoring: remade });
    const all = [...reasons, ...(manifest ? remade.map((need) => `its input ${need} is to be made`) : [])];
    if (manifest && all.length === 0) {
      digests[stage.name] = manifest.digest;
      plan.push({ stage: stage.name, status: 'up-to-date', reasons: [] });
      continue;
    }
    const continues =
      settings.resume &&
      remade.length === 0 &&
      (await isContinuable(settings.workspace, stage.name, stageIdentity(stage, settings, inputs)));
    plan.push({ stage: stage.name, status: continues ? 'continue' : 'make', reasons: all });
  }
  return plan;
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

import { existsSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type BackendName, usableBackend } from '../compute/backend.js';
import { findManifest, type Manifest } from '../core/artefact.js';
import {
  artefactFolder,
  beginArtefact,
  commitArtefact,
  recoverArtefact,
  suspendArtefact,
  tidyWorkspace,
} from '../core/artefact-writer.js';
import { assert, KdSpecError } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import { jsonObject } from '../core/json.js';
import type { Log } from '../core/log.js';
import { packageVersion } from '../core/package.js';
import { WorkspaceLock } from '../core/workspace-lock.js';
import { MetricsExport, type MetricsSink, mlflowSink, tensorboardSink } from './metrics-export.js';
import type { Settings } from './options.js';
import { describePlan, neededStages, planStages, stageState } from './plan.js';
import type { ResolvedSettings } from './settings.js';
import type { Stage } from './stage.js';
import { outsideInputs, stageIdentity, stageParameters } from './stage-inputs.js';
import type { StageName } from './stage-names.js';
import { rememberSettings } from './workspace-pipeline.js';

/** What became of one stage. */
export interface StageOutcome {
  readonly stage: StageName;
  readonly status: 'made' | 'up-to-date';
  readonly directory: string;
  readonly manifest: Manifest;
}

/**
 * Brings a stage's artefact, and all it needs, up to date.
 *
 * The workspace is locked meanwhile. The plan goes to `log` before any work. The settings are remembered in the workspace
 * when all is done, or when its jobs were handed to a cluster: what failed or was interrupted leaves those that were
 * remembered before, and goes on with the same command.
 *
 * @param target the last stage
 * @returns the outcome of each stage that the target needs, in order, the target's last
 * @throws KdSpecError `workspace-busy`; `interrupted` when `signal` aborted; whatever a stage throws. Stages that
 * were finished stay finished.
 */
export async function runStages(
  stages: readonly Stage[],
  target: StageName,
  resolved: ResolvedSettings,
  { log, signal }: { log: Log; signal: AbortSignal },
): Promise<readonly StageOutcome[]> {
  const { workspace } = resolved.settings;
  const isNew = !existsSync(workspace);
  // A command that was refused leaves no empty folder behind.
  await using _empty = { [Symbol.asyncDispose]: async () => (isNew ? removeIfEmpty(workspace) : undefined) };
  await using lock = await WorkspaceLock.acquire(workspace);
  const stop = AbortSignal.any([signal, lock.lost]);
  try {
    const outcomes = await runLocked(stages, target, resolved, { log, signal: stop });
    await rememberSettings(resolved);
    return outcomes;
  } catch (error) {
    if (error instanceof KdSpecError && error.code === 'jobs-under-way') await rememberSettings(resolved);
    if (!lock.lost.aborted) throw error;
    throw new KdSpecError(
      'workspace-busy',
      `another process took over ${workspace}, since this one gave no sign of life (was it suspended?): stopped`,
      { cause: error },
    );
  }
}

async function removeIfEmpty(folder: string): Promise<void> {
  await rmdir(folder).catch(() => {});
}

async function runLocked(
  stages: readonly Stage[],
  target: StageName,
  resolved: ResolvedSettings,
  { log, signal }: { log: Log; signal: AbortSignal },
): Promise<readonly StageOutcome[]> {
  const { settings } = resolved;
  const { workspace } = settings;
  await tidyWorkspace(workspace);
  for (const { name } of stages) await recoverArtefact(workspace, name);
  const { stages: plan, warnings } = await planStages(stages, target, resolved);
  for (const warning of warnings) log.warn(warning);
  log.info(describePlan(plan));

  const outcomes: StageOutcome[] = [];
  for (const stage of neededStages(stages, target, settings)) {
    stopIfAborted(signal, stage);
    const inputs = await inputsOf(stage, settings, outcomes);
    const { manifest, reasons } = await stageState(stage, settings, inputs);
    const directory = artefactFolder(workspace, stage.name);
    if (manifest && reasons.length === 0) {
      const wasPlanned = plan.some(
        ({ stage: name, status }) => name === stage.name && status !== 'up-to-date',
      );
      if (wasPlanned) log.info(`${stage.name}: up to date after all, its inputs came out the same`);
      outcomes.push({ stage: stage.name, status: 'up-to-date', directory, manifest });
    } else {
      const made = await makeArtefact(stage, settings, inputs, { log, signal });
      outcomes.push({ stage: stage.name, status: 'made', directory, manifest: made });
    }
  }
  return outcomes;
}

async function makeArtefact(
  stage: Stage,
  settings: Settings,
  inputs: Readonly<Record<string, string>>,
  { log, signal }: { log: Log; signal: AbortSignal },
): Promise<Manifest> {
  const { workspace } = settings;
  const identity = stageIdentity(stage, settings, inputs);
  const unfinished = await beginArtefact(workspace, stage.name, identity, { resume: settings.resume });
  const { directory, start, startedAt } = unfinished;
  if (start === 'continued') log.info(`${stage.name}: going on with what was interrupted`);
  if (start === 'discarded') {
    const why = settings.resume ? 'it was made with other settings or inputs' : '--no-resume was given';
    log.info(`${stage.name}: what an interrupted run left is discarded: ${why}`);
  }

  let backend: string | null = null;
  const begin = performance.now();
  const seconds = () => unfinished.seconds + (performance.now() - begin) / 1000;
  log.info(`${stage.name}: ${stage.title}`);
  await using metricsExport = new MetricsExport(stage.name, directory, metricsSinks(settings), log);
  try {
    const needs = stage.needs(settings);
    const metrics = await stage.run({
      settings,
      log,
      signal,
      directory,
      workspace,
      store: join(workspace, 'features'),
      backend: await backendFor(settings),
      input: (need) => {
        assert(needs.includes(need), `stage ${stage.name} asked for ${need} without needing it`);
        return artefactFolder(workspace, need);
      },
      usesBackend: (name) => {
        backend = name;
      },
    });
    const parameters = stageParameters(stage.name, settings, 'all');
    await metricsExport.finish({ parameters, metrics: jsonObject(metrics) });
    return await commitArtefact(workspace, {
      stage: stage.name,
      kdSpecVersion: packageVersion(),
      parameters,
      seed: settings.seed,
      backend,
      inputs,
      metrics: jsonObject(metrics),
      startedAt,
      finishedAt: new Date().toISOString(),
      seconds: seconds(),
    });
  } catch (error) {
    await suspendArtefact(workspace, stage.name, identity, { startedAt, seconds: seconds() }).catch(() => {});
    const isAbort = signal.aborted && error instanceof Error && error.name === 'AbortError';
    if (isAbort) throw interrupted(stage, error);
    const meant = asFileError(error, directory);
    if (meant instanceof KdSpecError && meant.code === 'disk-full') throw meant;
    throw error;
  }
}

async function backendFor({ backend, workspace }: Settings): Promise<BackendName> {
  if (backend !== 'auto') return backend;
  const generalist = await findManifest(artefactFolder(workspace, 'generalist')).catch(() => undefined);
  return usableBackend(generalist?.backend ?? null) ?? 'auto';
}

/** Where metrics go beside the files of the artefact. */
function metricsSinks({ workspace, tensorboard, mlflow }: Settings): readonly MetricsSink[] {
  return [
    ...(tensorboard ? [tensorboardSink(join(workspace, 'tensorboard'))] : []),
    ...(mlflow === null ? [] : [mlflowSink(mlflow, { experiment: `kd-spec ${basename(workspace)}` })]),
  ];
}

async function inputsOf(
  stage: Stage,
  settings: Settings,
  outcomes: readonly StageOutcome[],
): Promise<Readonly<Record<string, string>>> {
  const inputs: Record<string, string> = {};
  for (const need of stage.needs(settings)) {
    const outcome = outcomes.find(({ stage: name }) => name === need);
    assert(outcome !== undefined, `${stage.name} runs before ${need}`);
    inputs[need] = outcome.manifest.digest;
  }
  return { ...inputs, ...(await outsideInputs(stage, settings)) };
}

function stopIfAborted(signal: AbortSignal, next: Stage): void {
  if (signal.aborted) throw interrupted(next);
}

function interrupted(stage: Stage, cause?: unknown): KdSpecError {
  return new KdSpecError('interrupted', `stopped at ${stage.name}: run the same command again to continue`, {
    cause,
  });
}

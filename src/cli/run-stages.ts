import { relative } from 'node:path';
import type { JsonObject } from '../core/json.js';
import { findPipelineFile } from '../pipeline/pipeline-file.js';
import { type PlannedStage, planStages } from '../pipeline/plan.js';
import { runStages, type StageOutcome } from '../pipeline/run.js';
import { type ResolvedSettings, resolveSettings } from '../pipeline/settings.js';
import type { StageName } from '../pipeline/stage-names.js';
import { stages } from '../pipeline/stages/index.js';
import { type CommandContext, printResult } from './context.js';
import type { Flags } from './flags.js';
import { alignColumns, describeMetrics } from './summary.js';
import { createTerminalLog, duration, usesColor } from './terminal-log.js';

/** Makes a stage's artefact and prints its metrics; with `--dry-run`, prints the plan alone. */
export async function runStageCommand(
  target: StageName,
  flags: Flags,
  context: CommandContext,
  { toJson }: { toJson: (metrics: JsonObject, directory: string) => JsonObject },
): Promise<void> {
  const resolved = await resolveSettings(flags, context.env, { folder: context.folder });
  const outcome = (await bringUpToDate(target, resolved, context)).at(-1);
  if (outcome === undefined) return;
  const { manifest, directory } = outcome;
  const json = { ...toJson(manifest.metrics, directory), artefact: describeOutcome(outcome) };
  const heading = `${outcome.stage}: ${relative(context.folder, directory) || '.'} (${statusOf(outcome)})`;
  const text = [heading, describeMetrics(manifest.metrics)].filter((part) => part !== '').join('\n');
  printResult(context, { json, text }, resolved.settings.json);
}

/** Makes all artefacts of a pipeline and prints the metrics of the last; with `--dry-run`, the plan alone. */
export async function runPipelineCommand(
  file: string | undefined,
  flags: Flags,
  context: CommandContext,
): Promise<void> {
  const { folder, env } = context;
  const pipelineFile = file === undefined ? undefined : await findPipelineFile(file, folder);
  const resolved = await resolveSettings(flags, env, {
    folder,
    ...(pipelineFile === undefined ? {} : { pipelineFile }),
  });
  const outcomes = await bringUpToDate('report', resolved, context);
  const last = outcomes.at(-1);
  if (last === undefined) return;
  const json = {
    workspace: resolved.settings.workspace,
    pipeline: resolved.pipeline,
    stages: Object.fromEntries(
      outcomes.map((outcome) => [
        outcome.stage,
        { ...describeOutcome(outcome), metrics: outcome.manifest.metrics },
      ]),
    ),
  };
  const table = alignColumns(
    outcomes.map((outcome) => [outcome.stage, statusOf(outcome), relative(folder, outcome.directory)]),
  );
  printResult(
    context,
    { json, text: `${table}\n\n${describeMetrics(last.manifest.metrics)}` },
    resolved.settings.json,
  );
}

/** The outcome of each stage; none after a dry run. */
async function bringUpToDate(
  target: StageName,
  resolved: ResolvedSettings,
  context: CommandContext,
): Promise<readonly StageOutcome[]> {
  const { settings, warnings } = resolved;
  using log = createTerminalLog(context.stderr, {
    quiet: settings.quiet,
    color: usesColor(context.stderr, context.env),
  });
  for (const warning of warnings) log.warn(warning);
  if (!settings.dryRun) return await runStages(stages, target, resolved, { log, signal: context.signal });

  const plan = await planStages(stages, target, settings);
  const json = { workspace: settings.workspace, pipeline: resolved.pipeline, plan };
  printResult(context, { json, text: planTable(plan) }, settings.json);
  return [];
}

function planTable(plan: readonly PlannedStage[]): string {
  const words = { 'up-to-date': 'up to date', make: 'make', continue: 'continue' };
  return alignColumns(plan.map(({ stage, status, reasons }) => [stage, words[status], reasons.join(', ')]));
}

function statusOf({ status, manifest }: StageOutcome): string {
  return status === 'made' ? `made in ${duration(manifest.seconds)}` : 'up to date';
}

function describeOutcome({ stage, status, directory, manifest }: StageOutcome): JsonObject {
  const { digest, seconds, backend, seed } = manifest;
  return { stage, status, directory, digest, seconds, backend, seed };
}

import { existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { findManifest } from '../core/artefact.js';
import { artefactFolder } from '../core/artefact-writer.js';
import { KdSpecError } from '../core/errors.js';
import type { JsonObject } from '../core/json.js';
import { percentWithin } from '../core/percent.js';
import { duration } from '../core/quantity-text.js';
import { planStages } from '../pipeline/plan.js';
import { runStages, type StageOutcome } from '../pipeline/run.js';
import { type ResolvedSettings, resolveSettings } from '../pipeline/settings.js';
import { metricsOf } from '../pipeline/stage-metrics.js';
import type { StageName } from '../pipeline/stage-names.js';
import { stages } from '../pipeline/stages/index.js';
import type { Flags } from './command-line.js';
import { type CommandContext, printResult } from './context.js';
import { planJson, planText } from './plan-summary.js';
import { stageSummary, studentVerdict } from './stage-summary.js';
import { alignColumns } from './summary.js';
import { createTerminalLog, usesColor } from './terminal-log.js';

/**
 * Makes a stage's artefact and prints its metrics; with `--dry-run`, prints the plan alone; where the stage's jobs were
 * submitted and are not waited for, where these stand.
 */
export async function runStageCommand(
  target: StageName,
  flags: Flags,
  context: CommandContext,
  { toJson }: { toJson: (metrics: JsonObject, directory: string) => JsonObject },
): Promise<void> {
  const resolved = await resolveInputs(flags, context);
  let outcomes: readonly StageOutcome[];
  try {
    outcomes = await bringUpToDate(target, resolved, context);
  } catch (error) {
    const isSubmission = error instanceof KdSpecError && error.code === 'jobs-under-way';
    if (!isSubmission || target !== 'specialists') throw error;
    const { reportSubmission } = await import('./jobs/look-after-jobs.js');
    return await reportSubmission(error.message, resolved.settings, context);
  }
  const outcome = outcomes.at(-1);
  if (outcome === undefined) return;
  const { manifest, directory } = outcome;
  const isJson = resolved.settings.json;
  const json = { ...toJson(manifest.metrics, directory), artefact: describeOutcome(outcome) };
  const heading = `${outcome.stage}: ${relative(context.folder, directory) || '.'} (${statusOf(outcome)})`;
  const text = isJson ? '' : `${heading}\n${await describeOutcomes([outcome], context)}`.trimEnd();
  printResult(context, { json, text }, isJson);
}

/** Makes all artefacts of a pipeline and prints the metrics of the last; with `--dry-run`, the plan alone. */
export async function runPipelineCommand(
  file: string | undefined,
  flags: Flags,
  context: CommandContext,
): Promise<void> {
  if (file !== undefined && flags.pipeline !== undefined) {
    throw new KdSpecError('usage', `expected one pipeline, got ${file} and --pipeline ${flags.pipeline}`);
  }
  const resolved = await resolveInputs(file === undefined ? flags : { ...flags, pipeline: file }, context);
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
  const isJson = resolved.settings.json;
  printResult(context, { json, text: isJson ? '' : await describeOutcomes(outcomes, context) }, isJson);
}

/** The settings of a command. Data on standard input (`-`) are kept in the workspace, since stages read them again. */
async function resolveInputs(flags: Flags, { env, folder }: CommandContext): Promise<ResolvedSettings> {
  const words = ['source', 'predictions'].filter((flag) => flags[flag] === '-');
  if (words.length > 1) {
    throw new KdSpecError(
      'usage',
      'expected one - for standard input, got --source - and --predictions -: name a file',
    );
  }
  const [flag] = words;
  if (flag === undefined) return await resolveSettings(flags, env, { folder });
  const { settings } = await resolveSettings({ ...flags, [flag]: undefined }, env, { folder });
  const { keepStandardInput } = await import('../data/standard-input.js');
  const path = await keepStandardInput(process.stdin, join(settings.workspace, 'input'));
  return await resolveSettings({ ...flags, [flag]: path }, env, { folder });
}

/** What the last of some stages did, for a person. What draws the report is loaded only for a report. */
async function describeOutcomes(
  outcomes: readonly StageOutcome[],
  { folder, env, stdout }: CommandContext,
): Promise<string> {
  const last = outcomes.at(-1);
  if (last === undefined) return '';
  const { stage, directory, manifest } = last;
  if (stage === 'student') {
    const summary = stageSummary(stage, manifest.metrics);
    if (metricsOf(stage, manifest.metrics)?.teacher?.generalist) return summary;
    return `${summary}\n\n${await besideStudent(dirname(directory), manifest)}`;
  }
  if (stage !== 'report') return stageSummary(stage, manifest.metrics);
  const { reportSummary } = await import('./report-summary.js');
  const { afterReport } = await import('./status.js');
  return reportSummary(manifest.metrics, {
    page: relative(folder, join(directory, 'index.html')),
    seconds: manifest.seconds,
    next: await afterReport(dirname(directory), { folder, env }),
    ...(outcomes.length > 1 && {
      status: Object.fromEntries(
        outcomes.map((outcome) => [outcome.stage, outcome.status.replaceAll('-', ' ')]),
      ),
    }),
    color: 'isTTY' in stdout && usesColor({ isTTY: stdout.isTTY === true }, env),
  });
}

/** Generalist and ensemble on the same test images, if the workspace has a report on them. */
async function besideStudent(
  workspace: string,
  { inputs: { dataset }, metrics }: StageOutcome['manifest'],
): Promise<string> {
  const manifest = await findManifest(artefactFolder(workspace, 'report')).catch(() => undefined);
  const report = manifest && metricsOf('report', manifest.metrics);
  if (manifest?.inputs.dataset !== dataset || report?.split !== 'test') {
    return 'kd-spec evaluate --with-student sets it beside generalist and ensemble on the same test images.';
  }
  const { examples, generalist, ensemble } = report.test;
  const row = (name: string, { top1, top1StandardError }: typeof generalist) =>
    [name, percentWithin(top1, top1StandardError)] as const;
  const table = alignColumns(
    [['beside it, on test', 'top-1'], row('generalist', generalist), row('ensemble', ensemble)],
    'lr',
  );
  const student = metricsOf('student', metrics)?.test;
  return student === undefined
    ? table
    : `${table}\n\n${studentVerdict(student, { ...generalist, examples }, { ...ensemble, examples })}`;
}

/** The outcome of each stage; none after a dry run. */
export async function bringUpToDate(
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

  const plan = await planStages(stages, target, resolved);
  for (const warning of plan.warnings) log.warn(warning);
  const { workspace, json } = settings;
  const isNew = !existsSync(workspace);
  printResult(
    context,
    {
      json: planJson(plan, { workspace, isNew, pipeline: resolved.pipeline, warnings }),
      text: planText(plan, { workspace: relative(context.folder, workspace) || '.', isNew }),
    },
    json,
  );
  return [];
}

function statusOf({ status, manifest }: StageOutcome): string {
  return status === 'made' ? `made in ${duration(manifest.seconds)}` : 'up to date';
}

function describeOutcome({ stage, status, directory, manifest }: StageOutcome): JsonObject {
  const { digest, seconds, backend, seed } = manifest;
  return { stage, status, directory, digest, seconds, backend, seed };
}

import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { findManifest, type Manifest } from '../core/artefact.js';
import { artefactFolder } from '../core/artefact-writer.js';
import { KdSpecError } from '../core/errors.js';
import { percent } from '../core/percent.js';
import { count } from '../core/quantity-text.js';
import { isDatasetChosen, resolveSettings } from '../pipeline/settings.js';
import { metricsOf } from '../pipeline/stage-metrics.js';
import { type StageName, stageCommands, stageNames } from '../pipeline/stage-names.js';
import type { Flags } from './command-line.js';
import { type CommandContext, printResult } from './context.js';
import { alignColumns } from './summary.js';

/** Where one stage stands. */
interface StageStanding {
  readonly stage: StageName;
  readonly command: string;
  /** `outdated` was made, but not with the settings or inputs that are in force. */
  readonly status: 'done' | 'outdated' | 'interrupted' | 'missing';
  /** What it holds, or why it is not up to date. */
  readonly note: string;
}

/** Stages that a workspace has only if somebody wants them. */
const optional: readonly StageName[] = ['rivals', 'answers', 'student'];

/** Shows where a workspace stands, stage by stage, and what to do next; in an empty folder the ways to begin. */
export async function showStatus(flags: Flags, context: CommandContext): Promise<void> {
  const resolved = await resolveSettings(flags, context.env, { folder: context.folder });
  const { workspace, json } = resolved.settings;
  const manifests = new Map<StageName, Manifest>();
  for (const stage of stageNames) {
    const manifest = await findManifest(artefactFolder(workspace, stage)).catch(() => undefined);
    if (manifest) manifests.set(stage, manifest);
  }
  const place = relative(context.folder, workspace) || '.';
  const program = programName(context.env);
  const isEmpty = manifests.size === 0 && !existsSync(join(workspace, '.partial'));
  if (isEmpty) {
    printResult(
      context,
      {
        json: { workspace, stages: [], next: waysToBegin(program).map(([words]) => words) },
        text: beginning(place, program),
      },
      json,
    );
    return;
  }
  // The stages load all that they compute with, which the ways to begin do not need.
  const { planStages } = await import('../pipeline/plan.js');
  const { stages } = await import('../pipeline/stages/index.js');
  const target = manifests.has('student') ? ['report', 'student'] : ['report'];
  const planned = new Map<StageName, { readonly status: string; readonly reasons: readonly string[] }>();
  let problem: string | undefined;
  for (const last of target as StageName[]) {
    try {
      for (const stage of (await planStages(stages, last, resolved)).stages) planned.set(stage.stage, stage);
    } catch (error) {
      if (!(error instanceof KdSpecError)) throw error;
      problem = error.message;
    }
  }
  const standings = stageNames
    .filter((stage) => !optional.includes(stage) || manifests.has(stage))
    .map((stage) => standingOf(stage, manifests.get(stage), planned.get(stage)));
  const takesRows = manifests.has('dataset') && (await hasFeatures(join(workspace, 'dataset')));
  const { datasetWords } = await import('../pipeline/checks/checks.js');
  const isForgotten = !isDatasetChosen(resolved.origins);
  const repeated = isForgotten ? await datasetWords(workspace) : undefined;
  const next = nextSteps(standings, place, { flags, takesRows, program, repeated });
  printResult(
    context,
    {
      json: {
        workspace,
        stages: standings,
        next: next.map((words) => words.split(/ {2,}/)[0]), // without what it is for
        ...(problem !== undefined && { problem }),
      },
      text: [
        `Workspace ${place}`,
        alignColumns(standings.map(({ stage, status, note }) => [marks[status], stage, status, note])),
        ...(problem === undefined ? [] : [`With the settings in force: ${problem}`]),
        `Next:\n${next.map((words) => `  ${words}`).join('\n')}`,
      ].join('\n\n'),
    },
    json,
  );
}

const marks: Readonly<Record<StageStanding['status'], string>> = {
  done: '✓',
  outdated: '~',
  interrupted: '…',
  missing: '·',
};

function standingOf(
  stage: StageName,
  manifest: Manifest | undefined,
  planned: { readonly status: string; readonly reasons: readonly string[] } | undefined,
): StageStanding {
  const command = stageCommands[stage];
  if (planned?.status === 'continue') {
    return { stage, command, status: 'interrupted', note: 'the same command continues it' };
  }
  if (manifest === undefined) return { stage, command, status: 'missing', note: '' };
  if (planned !== undefined && planned.status !== 'up-to-date') {
    return { stage, command, status: 'outdated', note: planned.reasons.join(', ') };
  }
  return { stage, command, status: 'done', note: factOf(stage, manifest) };
}

/** Whether a data set has rows of features in place of images. */
async function hasFeatures(dataset: string): Promise<boolean> {
  const { openDataset } = await import('../data/dataset.js'); // which loads Arrow
  return openDataset(dataset).then(
    ({ image }) => image.isFeatures === true,
    () => false,
  );
}

/** What an artefact holds, in a few words. */
function factOf(stage: StageName, { metrics }: Manifest): string {
  switch (stage) {
    case 'dataset': {
      const known = metricsOf('dataset', metrics);
      return known ? `${count(known.classes)} classes, ${count(known.train)} training images` : '';
    }
    case 'generalist': {
      const known = metricsOf('generalist', metrics);
      if (known?.imported) return `imported, ${count(known.imported.classes)} classes`;
      return known ? `${count(known.parameters)} parameters` : '';
    }
    case 'predictions': {
      const known = metricsOf('predictions', metrics);
      return known ? `top-1 ${percent(known.top1)} on ${known.split}` : '';
    }
    case 'subsets': {
      const known = metricsOf('subsets', metrics);
      return known
        ? `${count(known.count)} subsets, ${percent(known.confusionInside)} of the confusion inside`
        : '';
    }
    case 'specialists': {
      const known = metricsOf('specialists', metrics);
      return known ? `${count(known.specialists)} specialists` : '';
    }
    case 'ensemble': {
      const known = metricsOf('ensemble', metrics);
      return known ? `${count(known.kept)} of ${count(known.specialists)} kept, rule ${known.rule}` : '';
    }
    case 'rivals': {
      const known = metricsOf('rivals', metrics);
      return known ? (known.verdict.better ?? 'none better than the specialists') : '';
    }
    case 'answers': {
      const known = metricsOf('answers', metrics);
      return known ? `soft targets of ${count(known.rows)} images` : '';
    }
    case 'student': {
      const known = metricsOf('student', metrics);
      return known ? `top-1 ${percent(known.test.top1)} on test` : '';
    }
    case 'report': {
      const known = metricsOf('report', metrics);
      return known
        ? `top-1 ${percent(known.test.generalist.top1)} → ${percent(known.test.ensemble.top1)} on ${known.split}`
        : '';
    }
  }
}

function nextSteps(
  standings: readonly StageStanding[],
  place: string,
  {
    flags,
    takesRows,
    program,
    repeated,
  }: {
    readonly flags: Flags;
    readonly takesRows: boolean;
    readonly program: string;
    /** Options of an interrupted command that the workspace does not remember. */
    readonly repeated: string | undefined;
  },
): readonly string[] {
  const where = flags.workspace === undefined ? '' : ` --workspace ${place}`;
  const open = standings.find(({ status, stage }) => status !== 'done' && !optional.includes(stage));
  if (open && repeated !== undefined)
    return [`${program} run${where} ${repeated}  with the other options of the interrupted command`];
  if (open)
    return [`${program} ${open.command}${where}`, `${program} run${where}  everything that is missing`];
  return [`open ${join(place, 'report', 'index.html')}`, ...usesOf(where, { takesRows, program })];
}

/** What to do with a finished workspace, aligned. */
function usesOf(
  where: string,
  { takesRows, program }: { readonly takesRows: boolean; readonly program: string },
): readonly string[] {
  return alignColumns(
    [
      [`${program} show${where}`, 'the confused classes by name; show specialist 0, show class NAME'],
      ...(takesRows ? [] : [[`${program} serve${where}`, 'a page: drop an image, see what both predict']]),
      [
        `${program} infer ${takesRows ? 'new.npz' : 'photo.jpg'}${where}`,
        'predictions of both, --json for programs',
      ],
      [`${program} export --out ensemble.onnx${where}`, 'one file for Python, C++ or a browser'],
    ],
    'll',
  ).split('\n');
}

/** What to do after a run has ended with a report. */
export async function afterReport(
  workspace: string,
  { folder, env }: Pick<CommandContext, 'folder' | 'env'>,
): Promise<string> {
  const place = relative(folder, workspace) || '.';
  const where = place === 'kd-workspace' ? '' : ` --workspace ${place}`;
  const takesRows = await hasFeatures(join(workspace, 'dataset'));
  const uses = usesOf(where, { takesRows, program: programName(env) });
  return ['Next:', '', ...uses.map((line) => `  ${line}`)].join('\n');
}

/** What to type: npx finds the command of a clone or a dependency, which need not be on the path. */
function programName(env: CommandContext['env']): string {
  return env.npm_command === undefined ? 'kd-spec' : 'npx kd-spec';
}

const waysToBegin = (program: string): readonly (readonly [string, string])[] => [
  [
    `${program} init --source PHOTOS`,
    'your images, a folder for each class: looks at them and writes a pipeline file',
  ],
  [`${program} run --onnx MODEL.onnx --source PHOTOS`, 'your classifier, and images of what it confuses'],
  [`${program} run --source jft-like --classes 300`, 'synthetic images, to see it work'],
];

function beginning(place: string, program: string): string {
  return [
    `No workspace at ${place} yet. Three ways to begin:`,
    alignColumns(waysToBegin(program).map(([words, what]) => [`  ${words}`, what])),
    `${program} --help lists all commands.`,
  ].join('\n\n');
}

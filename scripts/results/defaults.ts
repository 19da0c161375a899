/**
 * What the default settings were chosen by: small folders of images, as users have them, and the two benchmarks.
 *
 *     npm run build && npx tsx scripts/results/defaults.ts
 *
 * Emoji and icons come from the npm package `@iconify/json` (465 MB, so that it is no dependency: the script installs
 * it into its folder). Everything is compared on validation, one change at a time; then the old defaults and the chosen
 * ones look at the test images once. `--only PATTERN` runs the comparisons whose names match, `--no-test` leaves the
 * last step out; `--data` and `--seeds` say on which data and how often, those of other runs stay in the results.
 * Interrupted, it goes on where it was. Results: `docs/results/defaults.json` and the page `docs/results/defaults.md`.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { stringify } from 'yaml';
import type { Report } from '../../src/evaluation/report.js';
import type { EpochMetrics } from '../../src/training/metrics-log.js';
import { emojiFolder, type FolderSummary, iconFolder } from './defaults/drawings.js';
import {
  type DataName,
  type DefaultsResult,
  type FolderName,
  type GeneralistRun,
  isDataName,
  renderDefaults,
  type SpecialistsRun,
  type TestRun,
} from './defaults/page.js';
import { benchmarks, chosen, generalists, old, specialistsFor, testRuns } from './defaults/variants.js';
import { type Bench, metricsOf, remembered, runVariant } from './workspace.js';
import { writeResult } from './write-result.js';

const { values } = parseArgs({
  options: {
    folder: { type: 'string', default: 'kd-workspace/results/defaults' },
    out: { type: 'string', default: 'docs/results' },
    data: { type: 'string', default: 'emoji,icons,jft-like,han' },
    seeds: { type: 'string', default: '1' },
    only: { type: 'string', default: '.' },
    'no-test': { type: 'boolean', default: false },
  },
});
const folder = resolve(values.folder);
const wanted = new RegExp(values.only);
const seeds = values.seeds.split(',').map(Number);

/** Installs the package of icon sets, once. */
function iconPackage(): string {
  const place = join(folder, 'package');
  const made = join(place, 'node_modules', '@iconify', 'json');
  if (existsSync(made)) return made;
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'package.json'), '{ "private": true }\n');
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '@iconify/json@2'], {
    cwd: place,
    stdio: 'inherit',
  });
  return made;
}

/** Draws a folder of images, once and as a whole. */
async function drawn(name: string, draw: (into: string) => Promise<FolderSummary>): Promise<FolderSummary> {
  mkdirSync(join(folder, 'data'), { recursive: true });
  return remembered(join(folder, 'data', `${name}.json`), async () => {
    const place = join(folder, 'data', name);
    rmSync(`${place}.partial`, { recursive: true, force: true });
    const summary = await draw(`${place}.partial`);
    renameSync(`${place}.partial`, place);
    return summary;
  });
}

/** The check whose weights a generalist kept. */
function keptCheck(workspace: string): EpochMetrics {
  const { keptEpoch } = metricsOf(workspace, 'generalist');
  const lines = readFileSync(join(workspace, 'generalist', 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n');
  const checks: EpochMetrics[] = lines.map((line) => JSON.parse(line));
  return checks.find(({ epoch }) => epoch === keptEpoch) ?? checks[checks.length - 1];
}

function trainGeneralists(bench: Bench): GeneralistRun[] {
  return generalists
    .filter(({ name }) => wanted.test(name))
    .map(({ name, label, overrides }) => {
      const one = runVariant(bench, name, overrides, name === 'g-old' ? undefined : ['g-old', ['dataset']]);
      one.until('predict');
      const { epochs, trainingFlops, trainingSeconds } = metricsOf(one.workspace, 'generalist');
      const { epoch, loss, validationTop1 = 0, validationLoss = 0 } = keptCheck(one.workspace);
      return {
        label,
        epochs,
        keptEpoch: epoch,
        loss,
        validationTop1,
        validationLoss,
        trainingFlops,
        trainingSeconds,
      };
    });
}

function trainSpecialists(bench: Bench, classes: number): SpecialistsRun[] {
  return specialistsFor(classes)
    .filter(({ name }) => wanted.test(name))
    .map(({ name, label, overrides, from, keeps }) => {
      const one = runVariant(bench, name, overrides, [from, keeps]);
      one.until('calibrate');
      const { rules, generalist, specialists: trained } = metricsOf(one.workspace, 'ensemble');
      const { confusionInside, sizes } = metricsOf(one.workspace, 'subsets');
      const { trainingFlops, trainingSeconds } = metricsOf(one.workspace, 'specialists');
      return {
        label,
        rules: (rules ?? []).map(({ rule, kept, crossFitted }) => ({ rule, kept, crossFitted })),
        generalist,
        trained,
        confusionInside,
        sizes,
        trainingFlops,
        trainingSeconds,
      };
    });
}

function testOnce(bench: Bench): TestRun[] {
  return testRuns.map(({ name, label, overrides, from, keeps }) => {
    const one = runVariant(bench, name, overrides, [from, keeps]);
    one.until('evaluate');
    const report: Report = JSON.parse(readFileSync(join(one.workspace, 'report', 'report.json'), 'utf8'));
    const cost = (stage: string) => report.stages.find((of) => of.stage === stage)?.trainingFlops ?? 0;
    return {
      label,
      rule: report.fusion.rule,
      kept: report.fusion.kept,
      trained: report.fusion.trained,
      test: report.test,
      generalistFlops: cost('generalist'),
      specialistFlops: cost('specialists'),
    };
  });
}

/** A run of all comparisons on some data. */
function runOn(
  data: DataName,
  { dataset, classes, seed }: { readonly dataset: object; readonly classes: number; readonly seed: number },
): DefaultsResult['runs'][number] {
  const place = join(folder, data, String(seed));
  mkdirSync(place, { recursive: true });
  const pipeline = join(place, 'pipeline.yaml');
  writeFileSync(pipeline, stringify({ dataset }));
  const bench: Bench = { pipeline, folder: place, seed };
  return {
    data,
    seed,
    command: `--data ${data} --seeds ${seed} --only '${values.only}'`,
    generalists: trainGeneralists(bench),
    specialists: trainSpecialists(bench, classes),
    tests: values['no-test'] ? [] : testOnce(bench),
  };
}

const resultsFile = join(values.out, 'defaults.json');
const before: Partial<DefaultsResult> = existsSync(resultsFile)
  ? JSON.parse(readFileSync(resultsFile, 'utf8'))
  : {};
const folders: Partial<Record<FolderName, FolderSummary>> = { ...before.folders };
const runs: DefaultsResult['runs'][number][] = [];
for (const name of values.data.split(',').filter(isDataName)) {
  let settings: { readonly dataset: object; readonly classes: number };
  if (name === 'emoji' || name === 'icons') {
    const source = iconPackage();
    folders[name] = await drawn(name, (into) =>
      name === 'emoji'
        ? emojiFolder(source, into, { leastImages: 8 })
        : iconFolder(source, into, { leastFamilies: 18 }),
    );
    const dataset = { source: join(folder, 'data', name), imageSize: 20, channels: 1 };
    settings = { dataset, classes: folders[name].classes };
  } else settings = benchmarks[name];
  for (const seed of seeds) runs.push(runOn(name, { ...settings, seed }));
}
const isMadeAgain = ({ data, seed }: { readonly data: string; readonly seed: number }) =>
  runs.some((run) => run.data === data && run.seed === seed);
const all = [...(before.runs ?? []).filter((run) => !isMadeAgain(run)), ...runs];
writeResult(values.out, 'defaults', { folders, old, chosen, runs: all }, renderDefaults);

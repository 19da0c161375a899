/**
 * Accuracy against the operations of a prediction, at equal training: specialists beside what somebody would try first
 * who can train from scratch.
 *
 *     npm run build && npx tsx scripts/results/frontier.ts jft-like-3k --seeds 21,22,23 --python "$(scripts/torch-venv.sh)"
 *
 * For each seed, on the images of `pipelines/NAME.yaml`: the pipeline itself; a wide generalist with a sampled head, alone
 * and, narrower, with specialists; a head of low rank; and, in PyTorch (`frontier/rivals.py`), a softmax of two levels over
 * groups that a small generalist confuses, whose training counts, a mixture of softmaxes and a mixture of experts. Each but
 * the generalist alone has about the training operations of the pipeline, the mixtures a seventh less. A wide generalist
 * also predicts from a preview of its head. Every choice is made on validation; test images are read once a contender is
 * trained. Interrupted, it goes on where it was, and a seed at a time, or the contenders whose names match
 * `--contenders`, add to the page. What is kept is known by its name alone: after a change of these scripts give another
 * `--folder`. Results: `docs/results/frontier-NAME.json`, `.md` and `.svg`.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';
import type { Report } from '../../src/evaluation/report.js';
import { frontierChart } from './frontier/chart.js';
import { renderFrontier } from './frontier/page.js';
import type { Contender, FrontierResult, Point, SeedResult } from './frontier/result.js';
import { writeImages } from './frontier/write-images.js';
import { writePages } from './specialists/page.js';
import { type Bench, metricsOf, type Overrides, remembered, runVariant } from './workspace.js';
import { writeResult } from './write-result.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '21,22,23' },
    folder: { type: 'string', default: 'kd-workspace/results/frontier' },
    out: { type: 'string', default: 'docs/results' },
    python: { type: 'string', default: 'python3' },
    contenders: { type: 'string', default: '.' },
  },
});
const [name = 'jft-like-3k'] = positionals;
const wanted = new RegExp(values.contenders);
const pipeline = `pipelines/${name}.yaml`;
const { dataset, generalist } = parse(readFileSync(pipeline, 'utf8'));

const sampled = { head: { sampled: 512 } };
const wide = { generalist: { ...sampled, network: { dense: [112] }, epochs: 3 } };
const lowRank = { generalist: { ...sampled, network: { dense: [384, 24] }, epochs: 3 } };
const wideWithSpecialists = {
  generalist: { ...sampled, network: { dense: [96] }, epochs: 2 },
  specialists: { dense: [160], epochs: 1 },
};
/** Generalists that are trained for their confusions alone: on an eighth of the images, and wider, once on all. */
const scouts: Readonly<Record<string, Overrides>> = {
  scout: { dataset: { imagesPerClass: dataset.imagesPerClass / 8 }, generalist: sampled },
  'wide-scout': { generalist: { ...sampled, network: { dense: [64] }, epochs: 1 } },
};
const partitionInto = (clusters: number) => ({ subsets: { specialists: null, size: null, clusters } });
/** Previews of a head that stands on so many units. */
const previewsOf = (units: number) =>
  [8, 16, 24, 32, 48]
    .filter((preview) => preview < units)
    .flatMap((preview) => [50, 200].map((exact) => ({ preview, exact })));

/** What `rivals.py` prints. */
interface Measured {
  readonly trainingFlops?: number;
  readonly trainingSeconds?: number;
  readonly parameters: number;
  readonly results: readonly (Omit<Point, 'way'> & { readonly mass?: number })[];
}

async function contendersOf(seed: number): Promise<SeedResult> {
  const bench: Bench = { pipeline, seed, folder: join(values.folder, name, String(seed)) };
  mkdirSync(bench.folder, { recursive: true });
  const place = (variant: string) => join(bench.folder, variant);
  const ours = runVariant(bench, 'ours', {});
  ours.until('calibrate');
  const images = place('images');
  if (!existsSync(join(images, 'images.json'))) await writeImages(join(ours.workspace, 'dataset'), images);

  const measured = (variant: string, settings: object): Promise<Measured> =>
    remembered(place(`${variant}.json`), () => {
      const words = ['scripts/results/frontier/rivals.py', images, JSON.stringify({ seed, ...settings })];
      const output = execFileSync(values.python, words, { stdio: ['ignore', 'pipe', 'inherit'] });
      return JSON.parse(output.toString());
    });
  /** A generalist of kd-spec: as it is, and by previews of its head. */
  const generalistOf = async (variant: string, ways: readonly object[]): Promise<Omit<Contender, 'name'>> => {
    const { trainingFlops, trainingSeconds, parameters } = metricsOf(place(variant), 'generalist');
    const points: Point[] = [];
    for (const way of [{}, ...ways]) {
      const settings = { head: 'stored', checkpoint: join(place(variant), 'generalist'), ...way };
      const label = Object.entries(way)
        .map(([key, value]) => `${key} ${value}`)
        .join(', ');
      const { results } = await measured([variant, ...Object.values(way)].join('-'), settings);
      points.push(...results.map((result) => ({ ...result, way: label })));
    }
    return { trainingFlops, trainingSeconds, parameters, points };
  };
  const trainedAlone = (variant: string, overrides: typeof wide) => {
    runVariant(bench, variant, overrides, ['ours', ['dataset']]).until('train-generalist');
    const { dense } = overrides.generalist.network;
    return generalistOf(variant, previewsOf(dense[dense.length - 1]));
  };
  const inPyTorch = async (variant: string, settings: object): Promise<Omit<Contender, 'name'>> => {
    const weights = place(`${variant}.pt`);
    const { convolutions } = generalist.network;
    const { batchSize, learningRate } = generalist;
    const all = { convolutions, batchSize, learningRate, ...settings, weights };
    const { trainingFlops = 0, trainingSeconds = 0, parameters, results } = await measured(variant, all);
    const points = results.map((result) => ({
      ...result,
      way: result.mass === undefined ? 'all' : `${result.mass} of the mass`,
    }));
    return { trainingFlops, trainingSeconds, parameters, points };
  };
  /** Two levels over groups that a generalist confuses, whose training counts. */
  const twoLevels = async (of: string, groups: number, units: number, epochs: number) => {
    if (of !== 'ours')
      runVariant(bench, of, scouts[of], of === 'scout' ? undefined : ['ours', ['dataset']]).until('predict');
    const variant = `${groups}-groups-of-${of}`;
    const confused = ['dataset', 'generalist', 'predictions'];
    const overrides = { ...scouts[of], ...partitionInto(groups) };
    const clusters = runVariant(bench, variant, overrides, [of, confused]);
    clusters.until('cluster');
    const { trainingFlops, ...found } = await inPyTorch(`two-levels-${variant}`, {
      ...{ head: 'two-level', dense: [units], epochs },
      groups: join(clusters.workspace, 'subsets', 'subsets.json'),
    });
    const before = metricsOf(clusters.workspace, 'generalist');
    return {
      ...found,
      trainingFlops: trainingFlops + before.trainingFlops,
      trainingSeconds: found.trainingSeconds + before.trainingSeconds,
    };
  };

  const makers: Readonly<Record<string, () => Promise<Omit<Contender, 'name'>> | Omit<Contender, 'name'>>> = {
    'the generalist': () => generalistOf('ours', []),
    'the generalist, a bias for each class': async () =>
      onlyLast(await generalistOf('ours', [{ adjust: 'bias' }])),
    'the generalist, logits adjusted by frequency': async () =>
      onlyLast(await generalistOf('ours', [{ adjust: 'frequency' }])),
    'the generalist with specialists': () => ensembleOf(ours),
    'a wide generalist': () => trainedAlone('wide', wide),
    'a wide generalist with specialists': () =>
      ensembleOf(runVariant(bench, 'wide-with-specialists', wideWithSpecialists, ['ours', ['dataset']])),
    'a head of low rank': () => trainedAlone('low-rank', lowRank),
    'two levels, 12 groups of a small scout': () => twoLevels('scout', 12, 192, 2.66),
    'two levels, 55 groups of a small scout': () => twoLevels('scout', 55, 320, 2.66),
    'two levels, 55 groups of the generalist': () => twoLevels('ours', 55, 320, 1),
    'two levels, 55 groups of a wide scout': () => twoLevels('wide-scout', 55, 320, 2.2),
    'a mixture of softmaxes': () =>
      inPyTorch('mixture', { head: 'mixture', dense: [64], parts: 3, inner: 24, epochs: 1 }),
    'a mixture of experts': () =>
      inPyTorch('experts', { head: 'experts', dense: [], experts: 8, between: 96, inner: 24, epochs: 2 }),
    'the generalist in PyTorch': () =>
      inPyTorch('plain', { head: 'plain', dense: generalist.network.dense, epochs: generalist.epochs }),
  };
  const contenders: Contender[] = [];
  for (const [who, make] of Object.entries(makers)) {
    if (wanted.test(who)) contenders.push({ name: who, ...(await make()) });
  }
  return { seed, contenders };
}

const onlyLast = (contender: Omit<Contender, 'name'>) => ({
  ...contender,
  points: contender.points.slice(-1),
});

/** Generalist and specialists of a workspace; of validation its cross-fitted figures. */
function ensembleOf({ workspace, until }: ReturnType<typeof runVariant>): Omit<Contender, 'name'> {
  until('evaluate');
  const report: Report = JSON.parse(readFileSync(join(workspace, 'report', 'report.json'), 'utf8'));
  const { crossFitted } = metricsOf(workspace, 'ensemble');
  const trained = [metricsOf(workspace, 'generalist'), metricsOf(workspace, 'specialists')];
  const sum = (key: 'trainingFlops' | 'trainingSeconds') =>
    trained.reduce((total, one) => total + one[key], 0);
  const { test, likelihood, inference } = report;
  return {
    trainingFlops: sum('trainingFlops'),
    trainingSeconds: sum('trainingSeconds'),
    parameters: (inference?.generalistParameters ?? 0) + (inference?.specialistParameters ?? 0),
    points: [
      {
        flopsPerImage: inference?.ensembleFlops ?? 0,
        validation: { top1: crossFitted.top1, negativeLogLikelihood: crossFitted.negativeLogLikelihood },
        test: {
          top1: test.ensemble.top1,
          top5: test.ensemble.top5,
          negativeLogLikelihood: likelihood.ensemble.negativeLogLikelihood,
          examples: test.examples,
        },
      },
    ],
  };
}

const path = join(values.out, `frontier-${name}.json`);
const seeds = new Map<number, SeedResult>(
  existsSync(path)
    ? (JSON.parse(readFileSync(path, 'utf8')) as FrontierResult).seeds.map((one) => [one.seed, one])
    : [],
);
for (const seed of values.seeds.split(',').map(Number)) {
  const { contenders } = await contendersOf(seed);
  const others = seeds
    .get(seed)
    ?.contenders.filter((one) => !contenders.some(({ name }) => name === one.name));
  seeds.set(seed, { seed, contenders: [...contenders, ...(others ?? [])] });
}
const result: FrontierResult = {
  name,
  classes: dataset.classes,
  seeds: [...seeds.values()].sort((a, b) => a.seed - b.seed),
};
writeResult(values.out, `frontier-${name}`, result, renderFrontier);
writeFileSync(join(values.out, `frontier-${name}.svg`), frontierChart(result));
if (existsSync(join(values.out, 'specialists.md'))) writePages(values.out); // which has the table in short

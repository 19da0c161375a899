/** Accuracies of one predictor on a split, as `rivals.py` prints them. */
export interface Scores {
  readonly top1: number;
  readonly top5: number;
  /** Mean, in nats, under a temperature and a share of label noise fitted to validation images. */
  readonly negativeLogLikelihood: number;
  readonly examples: number;
}

/** One way of a contender to predict, and its price. */
export interface Point {
  /** Which way, where there are several. */
  readonly way?: string;
  readonly flopsPerImage: number;
  readonly validation: Pick<Scores, 'top1' | 'negativeLogLikelihood'>;
  readonly test: Scores;
}

/** One contender under one seed. */
export interface Contender {
  readonly name: string;
  readonly trainingFlops: number;
  readonly trainingSeconds: number;
  readonly parameters: number;
  readonly points: readonly Point[];
}

export interface SeedResult {
  readonly seed: number;
  readonly contenders: readonly Contender[];
}

/** What `frontier.ts` writes. */
export interface FrontierResult {
  readonly name: string;
  readonly classes: number;
  readonly seeds: readonly SeedResult[];
}

/** Within a quarter of a standard error of top-1 on 12,000 images, and a hundredth of the likelihood. */
const nearEnough = { top1: 0.001, negativeLogLikelihood: 0.02 };

/** The way of predicting that validation chooses: the cheapest that is near the best in top-1 and likelihood. */
export function chosenPoint({ points }: Contender): Point {
  const top1 = Math.max(...points.map(({ validation }) => validation.top1));
  const loss = Math.min(...points.map(({ validation }) => validation.negativeLogLikelihood));
  const good = points.filter(
    ({ validation }) =>
      validation.top1 >= top1 - nearEnough.top1 &&
      validation.negativeLogLikelihood <= loss + nearEnough.negativeLogLikelihood,
  );
  const candidates = good.length > 0 ? good : points;
  return candidates.reduce((cheapest, point) =>
    point.flopsPerImage < cheapest.flopsPerImage ? point : cheapest,
  );
}

/** All contenders, in the order of the first seed that has them. */
export const contenderNames = ({ seeds }: FrontierResult): readonly string[] => [
  ...new Set(seeds.flatMap(({ contenders }) => contenders.map(({ name }) => name))),
];

/** A contender under every seed that has it. */
export const runsOf = ({ seeds }: FrontierResult, name: string): readonly Contender[] =>
  seeds.flatMap(({ contenders }) => contenders.filter((one) => one.name === name));

/** The ways in which a contender predicts, each under every seed. */
export function pointsOf(result: FrontierResult, name: string): readonly (readonly Point[])[] {
  const runs = runsOf(result, name);
  return runs[0].points.map((_, way) => runs.map(({ points }) => points[way]));
}

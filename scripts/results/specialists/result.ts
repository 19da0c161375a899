import type { Report } from '../../../src/evaluation/report.js';
import type { Estimate } from '../../../src/math/mean.js';
import type { ConfusionAndGain } from './confusion-and-gain.js';

/** What one of the compared predictors does on test, and what it costs. */
export interface Contender {
  readonly top1: Estimate;
  readonly top5: Estimate;
  /** Restricted to the classes of a kept specialist that covers the label. */
  readonly conditional: Estimate;
  readonly likelihood: Report['likelihood']['ensemble'];
  /** The same under a temperature fitted to validation images; not of those that have one already. */
  readonly tempered?: Report['likelihood']['ensemble'] & { readonly temperature: number };
  readonly trainingFlops: number;
  readonly trainingSeconds: number;
  readonly flopsPerImage: number;
  readonly parameters: number;
  readonly epochs?: number;
  readonly imagesPerClass?: number;
  /** Its layers, where they are others than the generalist's. */
  readonly network?: string;
}

export interface Comparison {
  readonly seed: number;
  readonly contenders: Readonly<Record<'generalist' | 'method', Contender>> &
    Partial<Readonly<Record<'paper' | 'longer' | 'wider' | 'thinner' | 'two' | 'three', Contender>>>;
  readonly differences: {
    readonly test: Report['test']['difference'];
    readonly conditional: Report['conditional']['difference'];
  };
  readonly coverage: Report['coverage'];
  readonly fusion: Report['fusion'];
  readonly curve: NonNullable<Report['curve']>;
  /** Accuracy against cost on validation, a point a rule. */
  readonly routing?: Report['routing'];
  readonly inference?: Report['inference'];
  readonly ceiling?: Report['ceiling'];
  /** Of each kept specialist. */
  readonly specialists?: readonly ConfusionAndGain[];
}

interface ValidationFit {
  readonly top1: number;
  readonly negativeLogLikelihood: number;
  readonly calibrationError: number;
}

/** A change to the method, judged on validation by cross-fitting. */
export interface AblationResult {
  readonly label: string;
  readonly rule: string;
  readonly generalist: ValidationFit;
  readonly crossFitted: ValidationFit;
  readonly kept: number;
  readonly specialists: number;
  readonly confusionInside: number;
  readonly sizes: { readonly least: number; readonly median: number; readonly most: number };
  readonly trainingFlops: number;
}

export interface Result {
  readonly name: string;
  readonly classes: number;
  readonly comparisons: readonly Comparison[];
  readonly ablations: readonly AblationResult[];
  /** Which of them were asked for, a regular expression. */
  readonly ablationPattern?: string;
  /** What a person has to say of the run: the machine, and why it came out so. */
  readonly note?: string;
}

/** Who is compared, in the order of the tables. */
export const titles = {
  generalist: 'generalist',
  paper: 'with specialists as in the paper',
  method: '**with specialists, our method**',
  longer: 'the generalist trained on',
  wider: 'a generalist with a wider dense layer',
  thinner: 'half the filters, a still wider dense layer',
  two: 'mean of two generalists',
  three: 'mean of three generalists',
} as const;
export const order = Object.keys(titles) as (keyof typeof titles)[];
/** Other uses of the same training computation. */
export const rivals = ['longer', 'wider', 'thinner', 'two', 'three'] as const;

export type Who = keyof typeof titles;

/** What one of them did in each comparison; empty unless it was run in all of them. */
export function allOf({ comparisons }: Result, who: Who): readonly Contender[] {
  const found = comparisons.flatMap(({ contenders }) => contenders[who] ?? []);
  return found.length === comparisons.length ? found : [];
}

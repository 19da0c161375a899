import { percent, percentWithin, shortPercent, signedWithin } from '../../core/percent.js';
import { count, duration, operations } from '../../core/quantity-text.js';
import type { RivalResult, RivalsReport } from './compare-rivals.js';
import { allowedHarm, type RivalFigures } from './verdict.js';

/** A table of rivals as text, for the terminal and for the page. */
export interface RivalsTable {
  /** What to know first. */
  readonly verdict: string;
  readonly caption: string;
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Sentences about the columns. */
  readonly notes: readonly string[];
}

/**
 * A line for each rival: its gain and its harm as validation alone chooses its numbers and within the bound, and its cost.
 * Columns that nothing measures are left out.
 */
export function rivalsTable({
  classes,
  classesWithImages,
  test,
  bystanders,
  bound,
  rivals,
  verdict,
}: RivalsReport): RivalsTable {
  const hasHarm = bystanders !== null;
  const gainAndHarm = (one: RivalFigures) => [
    signedWithin(one.gain, one.standardError),
    ...(one.harm ? [percentWithin(one.harm.harm, one.harm.standardError)] : []),
  ];
  const rows = rivals.map((rival) => {
    const { name, best, bounded, flops, trainingSeconds, trainingFlops, parameters } = rival;
    const training = trainingSeconds > 0 ? `${duration(trainingSeconds)}, ${operations(trainingFlops)}` : '';
    const within = bounded === null ? ['none', ''] : gainAndHarm(bounded);
    return [
      name,
      ...gainAndHarm(best),
      ...(hasHarm ? within : []),
      settingsText(hasHarm ? bounded : best),
      operations(Math.round(flops)),
      training,
      count(parameters),
    ];
  });
  const header = [
    'rival',
    'gain',
    ...(hasHarm ? ['harm', `gain at harm ≤ ${shortPercent(bound ?? 1)}`, 'harm'] : []),
    'chosen',
    'a prediction',
    'training',
    'parameters',
  ];
  const likelihood = rivals.find((rival) => rival.likelihood)?.likelihood;
  return {
    verdict: verdict.text,
    caption: `Gain in top-1 over the model as it is (${percentWithin(test.top1, test.standardError)}) on ${count(test.examples)} test images of ${count(classesWithImages)} classes, ± one standard error`,
    header,
    rows,
    notes: [
      bystanders
        ? `Harm: accuracy that ${count(bystanders.test)} bystanders lose (${bystanders.description}; the model has ${percent(bystanders.top1)}).`
        : classes > classesWithImages
          ? `Harm is not measured: there are no images of the other ${count(classes - classesWithImages)} classes (--bystanders PATH).`
          : 'There is no harm to measure: every class has images.',
      hasHarm
        ? 'Free numbers are chosen on validation: first for gain alone, then within the bound, on other bystanders than those of the table; none: nothing that was tried is within it.'
        : 'Free numbers are chosen on validation.',
      'A prediction: multiplications and additions after the backbone, which all share. Training: by the clock, where other rivals may have been trained at the same time, and by count.',
      ...(likelihood
        ? [
            `A temperature changes no order; the negative log-likelihood of test images goes from ${likelihood.before.toFixed(3)} to ${likelihood.after.toFixed(3)} nats.`,
          ]
        : []),
    ],
  };
}

/** What each rival is. */
export function rivalDescriptions(rivals: readonly RivalResult[]): readonly (readonly [string, string])[] {
  return rivals.map(({ name, what }) => [name, what]);
}

/** What a rival gets right, and whether it may count as better than the specialists. */
export interface RivalAccuracies {
  readonly name: string;
  /** Share of test images. */
  readonly top1: number;
  readonly bystanders: number | null;
  /**
   * Whether some of its numbers keep the bound on the bystanders that choose them, and it does no more harm than is allowed
   * on those for the test; null where nothing measures harm.
   */
  readonly keepsBound: boolean | null;
}

/**
 * Of each rival but the generalist and the ensemble, the share of test images and of bystanders that it gets right: within
 * the bound on harm where it can be, else as validation alone chooses it.
 */
export function rivalAccuracies({ rivals, bystanders, bound }: RivalsReport): readonly RivalAccuracies[] {
  const ensemble = rivals.find(({ name }) => name === 'ensemble');
  return rivals
    .filter(({ name }) => name !== 'generalist' && name !== 'ensemble')
    .map(({ name, best, bounded }) => {
      const { top1, harm } = bounded ?? best;
      if (bystanders === null || harm === undefined)
        return { name, top1, bystanders: null, keepsBound: null };
      const isAllowed = ensemble === undefined || harm.harm <= allowedHarm(bound, ensemble.best);
      return {
        name,
        top1,
        bystanders: bystanders.top1 - harm.harm,
        keepsBound: bounded !== null && isAllowed,
      };
    });
}

function settingsText(figures: RivalFigures | null): string {
  return Object.entries(figures?.settings ?? {})
    .map(([name, value]) => `${name} ${Number(value.toPrecision(3))}`)
    .join(', ');
}

import type { Log } from '../../core/log.js';
import { minimize } from '../../ensemble/calibration/minimize.js';
import { createMean } from '../../math/mean.js';
import { eachChunk, type RivalContext, sliceRows } from './fit-head.js';
import { neighboursRival } from './neighbours.js';
import {
  type Choice,
  chooseNumbers,
  correct,
  type FeatureSet,
  type FreeNumbers,
  type Head,
  harmBetween,
  type Judged,
  pairedDifference,
  predictions,
  type Rival,
  type RivalCost,
} from './rival.js';
import { generalistRivals, trainRivals } from './trained-heads.js';
import { type Outcome, type RivalFigures, type Verdict, verdictOf } from './verdict.js';

/** One line of the comparison. */
export interface RivalResult extends RivalCost {
  readonly name: string;
  readonly what: string;
  /** As validation alone chooses its numbers. */
  readonly best: RivalFigures;
  /** As validation and the bound on harm choose them; null where nothing is within the bound, or nothing measures it. */
  readonly bounded: RivalFigures | null;
  /** The same under other bounds, ascending, where anything is within them: how gain is traded for harm. */
  readonly frontier: readonly (RivalFigures & { readonly bound: number })[];
  /** Negative log-likelihood of the test images, in nats: what a temperature changes, and nothing else does. */
  readonly likelihood?: { readonly before: number; readonly after: number };
}

/** What `kd-spec rivals --json` prints and `rivals.json` holds. */
export interface RivalsReport {
  readonly classes: number;
  /** With training images. */
  readonly classesWithImages: number;
  readonly features: number;
  /** Rows of features that rivals were trained on: of each image several views. */
  readonly trainingRows: number;
  readonly test: { readonly examples: number; readonly top1: number; readonly standardError: number };
  readonly bystanders: {
    readonly description: string;
    readonly fit: number;
    readonly test: number;
    /** Top-1 of the generalist on those for the test; of one without a label its prediction counts as right. */
    readonly top1: number;
  } | null;
  /** On the harm; null where nothing measures it. */
  readonly bound: number | null;
  readonly rivals: readonly RivalResult[];
  readonly verdict: Verdict;
}

/** What the ensemble predicts for the test images, and what it costs. */
export interface EnsemblePredictions {
  /** (rows of the test set). */
  readonly test: Int32Array;
  /** (rows of the bystanders for the test). */
  readonly bystanders?: Int32Array | undefined;
  readonly cost: RivalCost;
  /** The rule and how many specialists take part. */
  readonly what: string;
}

/** Bystanders as features. */
export interface BystanderFeatures {
  readonly description: string;
  readonly fit: FeatureSet;
  readonly test: FeatureSet;
}

/** Bounds on the harm under which rivals are shown, beside that of the comparison. */
export const frontierBounds: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.02];

const fittedNumbers = 2 ** 24; // logits that a temperature is fitted to, which are in memory together

/**
 * Measures what a user could do instead of training specialists, on the same features of the same images.
 *
 * @param test images of classes with data, read once
 * @param bystanders none: harm is not measured
 * @param ensemble what the specialists make of the same test images
 * @param bound on the harm, a share
 * @param keep receives the last layers that `kd-spec export --refit` writes
 * @throws KdSpecError `interrupted`
 *
 * Cost: four trainings of a head, and for each rival a pass over validation, test and bystanders.
 */
export async function compareRivals(
  context: RivalContext,
  {
    test,
    bystanders,
    ensemble,
    bound,
    canRefit,
    keep,
  }: {
    readonly test: FeatureSet;
    readonly bystanders: BystanderFeatures | undefined;
    readonly ensemble: EnsemblePredictions;
    readonly bound: number;
    /** Whether specialists could stand on a refitted last layer, and do not. */
    readonly canRefit: boolean;
    /** Receives each rival that is another last layer, as it is chosen: on standardised features, within the bound where there is one. */
    readonly keep: (name: string, head: Head) => Promise<void>;
  },
  log: Log,
): Promise<RivalsReport> {
  const { validation, train, head, isPictured } = context;
  const { plain, prior } = generalistRivals(context);
  const before = async (set: FeatureSet): Promise<Judged> => {
    const [leaders] = await plain.leaders(set, [{}]);
    return { set, before: correct(predictions(leaders, 0), set) };
  };
  const tested = await before(test);
  const others = bystanders && { fit: await before(bystanders.fit), test: await before(bystanders.test) };
  const figuresOf = (
    settings: FreeNumbers,
    predicted: Int32Array,
    ofBystanders: Int32Array | undefined,
  ): Outcome => {
    const right = correct(predicted, test);
    const { mean: gain, standardError } = pairedDifference(right, tested.before);
    const harm =
      others && ofBystanders && harmBetween(others.test.before, correct(ofBystanders, others.test.set));
    const figures: RivalFigures = {
      settings,
      top1: shareOf(right),
      gain,
      standardError,
      ...(harm && { harm: { harm: harm.harm, standardError: harm.standardError } }),
    };
    return { figures, right };
  };
  const results: {
    readonly result: RivalResult;
    readonly best: Outcome;
    readonly bounded: Outcome | undefined;
  }[] = [];
  const measure = async (rival: Rival, more: Pick<RivalResult, 'likelihood'> = {}) => {
    const { best, bounded } = await chooseNumbers(rival, validation, others?.fit, [bound, ...frontierBounds]);
    const variants = [...new Set([best, ...bounded].flatMap((choice) => (choice ? [choice.variant] : [])))];
    const onTest = await rival.leaders(test, variants);
    const onOthers = others && (await rival.leaders(others.test.set, variants));
    const outcomeOf = (choice: Choice): Outcome => {
      const place = variants.indexOf(choice.variant);
      return figuresOf(
        settingsOf(rival, choice),
        predictions(onTest[place], choice.shift),
        onOthers && predictions(onOthers[place], choice.shift),
      );
    };
    const outcome = outcomeOf(best);
    const [inBound, ...frontier] = bounded.map((choice) => choice && outcomeOf(choice));
    const { name, what, cost } = rival;
    const result: RivalResult = {
      name,
      what,
      ...cost,
      best: outcome.figures,
      bounded: inBound?.figures ?? null,
      frontier: frontier.flatMap((one, index) =>
        one === undefined ? [] : [{ bound: frontierBounds[index], ...one.figures }],
      ),
      ...more,
    };
    results.push({ result, best: outcome, bounded: inBound });
    const chosen = others ? bounded[0] : best;
    if (rival.head && chosen) await keep(name, await rival.head(chosen));
  };

  const steps = 8;
  const progress = log.progress('rivals', steps);
  let done = 0;
  const update = () => progress.update(++done);
  await measure(plain);
  update();
  const temperature = await fitTemperature(context, test);
  const asItWas = results[0];
  results.push({
    ...asItWas,
    result: {
      ...asItWas.result,
      name: 'temperature',
      what: 'one temperature for all logits: the order of the classes, and so top-1, stays',
      parameters: 1,
      best: { ...asItWas.best.figures, settings: { temperature: temperature.temperature } },
      bounded: asItWas.bounded
        ? { ...asItWas.bounded.figures, settings: { temperature: temperature.temperature } }
        : null,
      likelihood: { before: temperature.before, after: temperature.after },
    },
  });
  await measure(prior);
  update();
  for (const kind of ['bias', 'refitted', 'hidden', 'adapter'] as const) {
    const trained = await trainRivals(kind, context);
    try {
      for (const rival of trained.rivals) await measure(rival);
    } finally {
      trained.dispose();
    }
    update();
  }
  await measure(neighboursRival(context));
  update();
  const own = figuresOf({}, ensemble.test, ensemble.bystanders);
  const ensembleResult = {
    name: 'ensemble',
    what: ensemble.what,
    ...ensemble.cost,
    best: own.figures,
    bounded: others ? own.figures : null,
    frontier: [],
  };
  update();
  progress.finish();

  const classesWithImages = isPictured.reduce((sum, one) => sum + one, 0);
  const generalist = createMean();
  for (const one of tested.before) generalist.add(one);
  const { mean: top1, standardError } = generalist.estimate();
  return {
    classes: head.classes,
    classesWithImages,
    features: head.width,
    trainingRows: train.rows,
    test: { examples: test.rows, top1, standardError },
    bystanders:
      bystanders && others
        ? {
            description: bystanders.description,
            fit: bystanders.fit.rows,
            test: bystanders.test.rows,
            top1: shareOf(others.test.before),
          }
        : null,
    bound: others ? bound : null,
    rivals: [...results.map(({ result }) => result), ensembleResult],
    verdict: verdictOf(
      results.map(({ result, best, bounded }) => ({ name: result.name, outcome: others ? bounded : best })),
      own,
      { bound: others ? bound : undefined, others: head.classes - classesWithImages, canRefit },
    ),
  };
}

function shareOf(right: Uint8Array): number {
  return right.reduce((sum, one) => sum + one, 0) / Math.max(1, right.length);
}

function settingsOf({ shifts }: Rival, { variant, shift }: Choice): FreeNumbers {
  return shifts.length > 1 ? { ...variant, shift } : variant;
}

/** The temperature of least cross-entropy on validation, and what it does to the test images. */
async function fitTemperature(
  context: RivalContext,
  test: FeatureSet,
): Promise<{ readonly temperature: number; readonly before: number; readonly after: number }> {
  const { classes } = context.head;
  const some = Math.min(2000, Math.max(200, Math.floor(fittedNumbers / classes))); // images
  const lossOn = async (set: FeatureSet) => {
    const all = new Float32Array(set.rows * classes);
    await eachChunk(context, set, undefined, ({ start, logits }) => all.set(logits, start * classes));
    return (temperature: number) => {
      let sum = 0;
      for (let at = 0, row = 0; row < set.rows; at += classes, row++) {
        let most = Number.NEGATIVE_INFINITY;
        for (let c = at; c < at + classes; c++) if (all[c] > most) most = all[c];
        let total = 0;
        for (let c = at; c < at + classes; c++) total += Math.exp((all[c] - most) / temperature);
        sum += Math.log(total) + (most - all[at + set.labels[row]]) / temperature;
      }
      return sum / Math.max(1, set.rows);
    };
  };
  const loss = await lossOn(sliceRows(context.validation, 0, some));
  const { x: temperature } = await minimize(loss, 0.1, 10, { tolerance: 0.02, start: 1 });
  const lossOfTest = await lossOn(sliceRows(test, 0, some));
  return { temperature, before: lossOfTest(1), after: lossOfTest(temperature) };
}

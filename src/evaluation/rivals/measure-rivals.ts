import { selectBackend } from '../../compute/backend.js';
import type { Tensor, Tensor1D, Tensor2D } from '../../compute/operations.js';
import { KdSpecError } from '../../core/errors.js';
import type { ThreadTask } from '../../core/thread.js';
import { minimize } from '../../ensemble/calibration/minimize.js';
import {
  chunkRows,
  type FeatureSet,
  type Head,
  type HeadContext,
  sliceRows,
} from '../../training/heads/fit-head.js';
import { generalistRivals, trainRivals } from './head-rivals.js';
import { neighboursRival } from './neighbours.js';
import {
  type Choice,
  chooseNumbers,
  correct,
  type FreeNumbers,
  harmBetween,
  type Judged,
  pairedDifference,
  predictions,
  type Rival,
  type RivalCost,
  type ScoredSet,
  writtenRivals,
} from './rival.js';
import type { Outcome, RivalFigures } from './verdict.js';

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

/** Images that rivals are judged by, with what the generalist gets right of them. */
export interface Judges {
  /** Of classes with data, to choose numbers by. */
  readonly validation: ScoredSet;
  /** Of classes with data, read once. */
  readonly test: Judged;
  /** To choose numbers by, and for the test; absent where nothing measures harm. */
  readonly others?: { readonly fit: Judged; readonly test: Judged } | undefined;
  /** On the harm, a share. */
  readonly bound: number;
}

/** A rival with its numbers chosen, as it does on the test images. */
export interface MeasuredRival {
  readonly result: RivalResult;
  readonly best: Outcome;
  readonly bounded: Outcome | undefined;
  /** Of one that is another last layer: as it is chosen, on standardised features, within the bound where there is one. */
  readonly head?: Head | undefined;
}

/** Rivals that are measured together, since they share what takes time; those that take longest first. */
export const rivalGroups = ['hidden', 'adapter', 'refitted', 'bias', 'neighbours', 'generalist'] as const;
export type RivalGroup = (typeof rivalGroups)[number];

/** In the order of the comparison. */
export const rivalNames = ['generalist', ...writtenRivals] as const;

/** Bounds on the harm under which rivals are shown, beside that of the comparison. */
export const frontierBounds: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.02];

const fittedNumbers = 2 ** 24; // logits that a temperature is fitted to, which are in memory together

/** What a thread is given: a context without what cannot be copied. */
interface GroupRequest {
  readonly group: RivalGroup;
  readonly context: Omit<HeadContext, 'operations' | 'signal'>;
  readonly judges: Judges;
}

/** {@link measureGroup} for a thread, which is ended from outside; it computes in WebAssembly. */
export const groupTask: ThreadTask<GroupRequest, readonly MeasuredRival[]> = {
  module: import.meta.url,
  name: 'groupTask',
  async run({ group, context, judges }) {
    const { operations } = await selectBackend('wasm');
    return measureGroup(group, { ...context, operations, signal: new AbortController().signal }, judges);
  },
};

/**
 * Trains some rivals, chooses their numbers on validation, and measures them on the test images.
 *
 * @throws KdSpecError `interrupted`
 *
 * Cost: a training of a head, where one is trained, and a pass over validation, test and bystanders.
 */
export async function measureGroup(
  group: RivalGroup,
  context: HeadContext,
  judges: Judges,
): Promise<readonly MeasuredRival[]> {
  if (group === 'neighbours') return [await measureRival(neighboursRival(context), judges)];
  if (group === 'generalist') {
    const { plain, prior } = generalistRivals(context);
    const asItIs = await measureRival(plain, judges);
    return [asItIs, await withTemperature(asItIs, context, judges), await measureRival(prior, judges)];
  }
  const trained = await trainRivals(group, context);
  try {
    const measured: MeasuredRival[] = [];
    for (const rival of trained.rivals) measured.push(await measureRival(rival, judges));
    return measured;
  } finally {
    trained.dispose();
  }
}

async function measureRival(
  rival: Rival,
  { validation, test, others, bound }: Judges,
): Promise<MeasuredRival> {
  const { best, bounded } = await chooseNumbers(rival, validation, others?.fit, [bound, ...frontierBounds]);
  const variants = [...new Set([best, ...bounded].flatMap((choice) => (choice ? [choice.variant] : [])))];
  const onTest = await rival.leaders(test.set, variants);
  const onOthers = others && (await rival.leaders(others.test.set, variants));
  const outcomeOf = (choice: Choice): Outcome => {
    const place = variants.indexOf(choice.variant);
    return outcomeOn(
      { test, others },
      settingsOf(rival, choice),
      predictions(onTest[place], choice.shift),
      onOthers && predictions(onOthers[place], choice.shift),
    );
  };
  const outcome = outcomeOf(best);
  const [inBound, ...frontier] = bounded.map((choice) => choice && outcomeOf(choice));
  const { name, what, cost } = rival;
  const chosen = others ? bounded[0] : best;
  return {
    result: {
      name,
      what,
      ...cost,
      best: outcome.figures,
      bounded: inBound?.figures ?? null,
      frontier: frontier.flatMap((one, index) =>
        one === undefined ? [] : [{ bound: frontierBounds[index], ...one.figures }],
      ),
    },
    best: outcome,
    bounded: inBound,
    head: chosen && (await rival.head?.(chosen)),
  };
}

/** What predictions of the test images, and of the bystanders for the test, come to. */
export function outcomeOn(
  { test, others }: Pick<Judges, 'test' | 'others'>,
  settings: FreeNumbers,
  predicted: Int32Array,
  ofBystanders: Int32Array | undefined,
): Outcome {
  const right = correct(predicted, test.set);
  const { mean: gain, standardError } = pairedDifference(right, test.before);
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
}

export function shareOf(right: Uint8Array): number {
  return right.reduce((sum, one) => sum + one, 0) / Math.max(1, right.length);
}

function settingsOf({ shifts }: Rival, { variant, shift }: Choice): FreeNumbers {
  return shifts.length > 1 ? { ...variant, shift } : variant;
}

/** The generalist at a temperature that is fitted on validation: it predicts what the generalist does. */
async function withTemperature(
  { result, best, bounded }: MeasuredRival,
  context: HeadContext,
  judges: Judges,
): Promise<MeasuredRival> {
  const { temperature, before, after } = await fitTemperature(context, judges);
  const settings = { temperature };
  const { head } = context;
  const cooled = (values: Float32Array) => values.map((value) => value / temperature);
  return {
    result: {
      ...result,
      name: 'temperature',
      what: 'one temperature for all logits: the order of the classes, and so top-1, stays',
      parameters: 1,
      best: { ...best.figures, settings },
      bounded: bounded ? { ...bounded.figures, settings } : null,
      likelihood: { before, after },
    },
    best,
    bounded,
    ...((judges.others ? bounded : best) && {
      head: { ...head, weights: cooled(head.weights), bias: cooled(head.bias) },
    }),
  };
}

/** The temperature of least cross-entropy on validation, and what it does to the test images. */
async function fitTemperature(
  { operations, head, signal }: HeadContext,
  { validation, test }: Judges,
): Promise<{ readonly temperature: number; readonly before: number; readonly after: number }> {
  const { width, classes } = head;
  const some = Math.min(2000, Math.max(200, Math.floor(fittedNumbers / classes))); // images
  const weights = operations.tensor(head.weights, [width, classes] as const);
  const bias = operations.tensor(head.bias, [classes] as const);
  const made: Tensor[] = [weights, bias];
  /** The mean cross-entropy of some images at a temperature; their logits are computed once. */
  const lossOn = (set: FeatureSet) => {
    const chunks: { readonly logits: Tensor2D; readonly labels: Tensor1D; readonly rows: number }[] = [];
    for (let start = 0; start < set.rows; start += chunkRows) {
      if (signal.aborted) throw new KdSpecError('interrupted', 'stopped while a temperature was fitted');
      const { features, labels, rows } = sliceRows(set, start, start + chunkRows);
      const input = operations.tensor(features, [rows, width] as const);
      const logits = operations.dense(input, weights, bias, { inputGradient: false });
      chunks.push({ logits, labels: operations.tensor(labels, [rows] as const), rows });
      made.push(input, logits, chunks[chunks.length - 1].labels);
    }
    return async (temperature: number) => {
      let sum = 0;
      for (const { logits, labels, rows } of chunks) {
        const loss = operations.tidy(() =>
          operations.softmaxCrossEntropy(operations.mul(logits, 1 / temperature), labels),
        );
        const [mean] = await operations.read(loss);
        loss.dispose();
        sum += mean * rows;
      }
      return sum / Math.max(1, set.rows);
    };
  };
  try {
    const loss = lossOn(sliceRows(validation, 0, some));
    const { x: temperature } = await minimize(loss, 0.1, 10, { tolerance: 0.02, start: 1 });
    const lossOfTest = lossOn(sliceRows(test.set, 0, some));
    return { temperature, before: await lossOfTest(1), after: await lossOfTest(temperature) };
  } finally {
    operations.dispose(made);
  }
}

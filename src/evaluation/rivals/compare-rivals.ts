import { availableParallelism } from 'node:os';
import type { Log } from '../../core/log.js';
import { hasThreads, runInThreads } from '../../core/thread.js';
import { createMean } from '../../math/mean.js';
import { toShared } from '../../math/row-threads.js';
import type { FeatureSet, Head, HeadContext } from '../../training/heads/fit-head.js';
import {
  groupTask,
  type Judges,
  type MeasuredRival,
  measureGroup,
  outcomeOn,
  type RivalResult,
  rivalGroups,
  rivalNames,
  shareOf,
} from './measure-rivals.js';
import {
  correct,
  type Judged,
  neighbourBytes,
  predictions,
  type RivalCost,
  type ScoredSet,
} from './rival.js';
import { scoreSet, scoreTask } from './scored-set.js';
import { type Verdict, verdictOf } from './verdict.js';

export type { RivalResult } from './measure-rivals.js';

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

const leastProducts = 2 ** 27; // of the head over all images that rivals are judged by, which are worth threads
const mostThreadedHead = 2 ** 26; // bytes of a head's weights, of which every thread has several copies
const mostThreadedFeatures = 2 ** 28; // bytes, of which there are then two copies, and three of those that teach

/**
 * Measures what a user could do instead of training specialists, on the same features of the same images.
 *
 * @param test images of classes with data, read once
 * @param bystanders none: harm is not measured
 * @param ensemble what the specialists make of the same test images
 * @param bound on the harm, a share
 * @param keep receives the last layers that `kd-spec export --refit` writes; what neighbours need is the training images
 * @throws KdSpecError `interrupted`
 *
 * Rivals are measured side by side in threads of their own on a backend that computes on one core. All but the times of
 * training, which are those beside the other rivals, come out the same.
 *
 * Cost: four trainings of a head, and for each rival a pass over validation, test and bystanders.
 */
export async function compareRivals(
  context: HeadContext,
  {
    test,
    bystanders,
    ensemble,
    bound,
    isImported,
    canRefit,
    keep,
  }: {
    readonly test: FeatureSet;
    readonly bystanders: BystanderFeatures | undefined;
    readonly ensemble: EnsemblePredictions;
    readonly bound: number;
    /** Whether the generalist is a model that was imported. */
    readonly isImported: boolean;
    /** Whether specialists could stand on a refitted last layer, and do not. */
    readonly canRefit: boolean;
    /** Receives each rival that is another last layer, as it is chosen: on standardised features, within the bound where there is one. */
    readonly keep: (name: string, head: Head) => Promise<void>;
  },
  log: Log,
): Promise<RivalsReport> {
  const { train, head, isPictured } = context;
  const others = bystanders ? [bystanders.fit, bystanders.test] : [];
  const crew = crewFor(context, [context.validation, test, ...others]);
  const judges = await judgesOf(crew, { validation: context.validation, test, bystanders, bound });

  const progress = log.progress('rivals', rivalGroups.length);
  const found: MeasuredRival[] = [];
  let done = 0;
  await measureGroups(crew, judges, async (measured) => {
    for (const { head, ...rival } of measured) {
      found.push(rival);
      if (head) await keep(rival.result.name, head);
    }
    progress.update(++done);
  });
  progress.finish();
  const results = rivalNames.flatMap((name) => found.filter(({ result }) => result.name === name));
  const own = outcomeOn(judges, {}, ensemble.test, ensemble.bystanders);
  const ensembleResult = {
    name: 'ensemble',
    what: ensemble.what,
    ...ensemble.cost,
    best: own.figures,
    bounded: bystanders ? own.figures : null,
    frontier: [],
  };

  const classesWithImages = isPictured.reduce((sum, one) => sum + one, 0);
  const generalist = createMean();
  for (const one of judges.test.before) generalist.add(one);
  const { mean: top1, standardError } = generalist.estimate();
  return {
    classes: head.classes,
    classesWithImages,
    features: head.width,
    trainingRows: train.rows,
    test: { examples: test.rows, top1, standardError },
    bystanders:
      bystanders && judges.others
        ? {
            description: bystanders.description,
            fit: bystanders.fit.rows,
            test: bystanders.test.rows,
            top1: shareOf(judges.others.test.before),
          }
        : null,
    bound: bystanders ? bound : null,
    rivals: [...results.map(({ result }) => result), ensembleResult],
    verdict: verdictOf(
      results.map(({ result, best, bounded }) => ({
        name: result.name,
        outcome: bystanders ? bounded : best,
      })),
      own,
      {
        bound: bystanders ? bound : undefined,
        others: head.classes - classesWithImages,
        isImported,
        stored: neighbourBytes(train.rows, train.width),
        canRefit,
      },
    ),
  };
}

/** Who measures: threads that work side by side, or this one alone. */
interface Crew {
  readonly context: HeadContext;
  /** 1: this thread alone. */
  readonly threads: number;
  /** A set as threads take it: its features are in memory that all have. */
  readonly shared: (set: FeatureSet) => FeatureSet;
}

/** @param judging images that every rival is judged by */
function crewFor(context: HeadContext, judging: readonly FeatureSet[]): Crew {
  const { weights } = context.head;
  const isWorthIt =
    context.operations.backend === 'wasm' &&
    weights.byteLength <= mostThreadedHead &&
    [context.train, ...judging].reduce((sum, { features }) => sum + features.byteLength, 0) <=
      mostThreadedFeatures &&
    weights.length * judging.reduce((sum, { rows }) => sum + rows, 0) >= leastProducts;
  const threads = hasThreads() && isWorthIt ? availableParallelism() : 1;
  if (threads < 2) return { context, threads, shared: (set) => set };
  const shared = (set: FeatureSet) => ({ ...set, features: toShared(set.features) });
  const { train, validation } = context;
  return { context: { ...context, train: shared(train), validation: shared(validation) }, threads, shared };
}

/** What the generalist makes of the images that judge, computed for several sets at once. */
async function judgesOf(
  { context, threads, shared }: Crew,
  {
    validation,
    test,
    bystanders,
    bound,
  }: {
    readonly validation: FeatureSet;
    readonly test: FeatureSet;
    readonly bystanders: BystanderFeatures | undefined;
    readonly bound: number;
  },
): Promise<Judges> {
  const sets = [test, validation, ...(bystanders ? [bystanders.test, bystanders.fit] : [])];
  let scored: readonly ScoredSet[];
  if (threads > 1) {
    const { head, isPictured, inPlay, signal } = context;
    const requests = sets.map((set) => ({ context: { head, isPictured, inPlay }, set: shared(set) }));
    scored = await runInThreads(scoreTask, requests, { threads, signal, doing: 'rivals' });
  } else {
    const inTurn: ScoredSet[] = [];
    for (const set of sets) inTurn.push(await scoreSet(context, set));
    scored = inTurn;
  }
  const judged = (set: ScoredSet): Judged => ({
    set,
    before: correct(predictions(set.generalist.leaders, 0), set),
  });
  const [ofTest, ofValidation, othersForTest, othersToFit] = scored;
  return {
    validation: ofValidation,
    test: judged(ofTest),
    others: bystanders && { fit: judged(othersToFit), test: judged(othersForTest) },
    bound,
  };
}

/** Measures all groups, several at once in threads where there are some; `each` receives them as they come. */
async function measureGroups(
  { context, threads }: Crew,
  judges: Judges,
  each: (measured: readonly MeasuredRival[]) => Promise<void>,
): Promise<void> {
  if (threads < 2) {
    for (const group of rivalGroups) await each(await measureGroup(group, context, judges));
    return;
  }
  const { operations: _operations, signal, ...copied } = context;
  const requests = rivalGroups.map((group) => ({ group, context: copied, judges }));
  await runInThreads(groupTask, requests, { threads, signal, doing: 'rivals', each });
}

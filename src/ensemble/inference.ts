import type { Operations } from '../compute/operations.js';
import { createPause } from '../core/pause.js';
import { softmax } from '../math/softmax.js';
import { type ImageBatch, rowOf } from '../models/classifier.js';
import type { Network } from '../models/network.js';
import type { EnsembleFile } from './ensemble-file.js';
import { underLabelNoise } from './label-noise.js';
import { createQuery, massOn, type Queried, type SpecialistPrediction } from './query.js';
import { createRouter } from './routing.js';
import { notAProbability } from './rules/distributions.js';
import { fusionRule } from './rules/index.js';
import { createFuseInPlace, type ParameterValues } from './rules/rule.js';
import type { SpecialistConfig } from './specialist/specialist.js';
import type { SpecialistNetworks } from './specialist/specialist-networks.js';
import { indexMembership } from './subsets/membership.js';

// Section 5.4, from images to fused distributions: the generalist predicts, the specialists whose subsets it points
// to are queried, and what all of them predict is fused. `createInference` is these three steps; a trace keeps what
// they passed on to one another.

/** What inference needs to know of an `ensemble.json`. */
export type InferenceSettings = FusionSettings &
  Pick<EnsembleFile, 'routingTop'> &
  Partial<Pick<EnsembleFile, 'routingMass' | 'routingMost' | 'labelNoise'>>;

/** What fusion needs to know of it. */
export interface FusionSettings {
  /** The name of a rule. */
  readonly rule: string;
  readonly parameters?: ParameterValues | undefined;
  readonly generalistTemperature: number;
  readonly specialists: readonly {
    readonly id: number;
    readonly temperature: number;
    readonly weight: number;
    readonly parameters?: ParameterValues | undefined;
    readonly kept: boolean;
  }[];
}

/** How one image was classified. */
export interface ImageTrace {
  /** (classes), the generalist's distribution, at temperature 1. */
  readonly generalist: Float32Array;
  /** (classes), the fused distribution, under label noise where the calibration found some. */
  readonly ensemble: Float32Array;
  /** The specialists that were queried. */
  readonly specialists: readonly SpecialistTrace[];
}

/** What one specialist predicted for one image, and what became of it. */
export interface SpecialistTrace {
  /** Position in the list of specialists. */
  readonly position: number;
  /** Whether it took part in the fusion; the others were queried for the trace alone. */
  readonly isActive: boolean;
  /** (s + 1), at temperature 1, the dustbin last, after its correction. */
  readonly probabilities: Float64Array;
  /** What its dustbin's logit was raised by, in nats. */
  readonly correction: number;
  /** Mass on its subset in each of the two distributions. */
  readonly mass: { readonly generalist: number; readonly ensemble: number };
}

/** Specialists, by position, to query for an image of a batch beside the active ones: they take no part in the fusion. */
export type AlsoQuery = (image: number) => readonly number[];

/** An ensemble as a function from batches to distributions. */
export interface Inference {
  /**
   * @param batch of the generalist's shape
   * @param out (batch, classes), gets the fused distributions
   * @throws KdSpecError `fusion-input` when an output of a network is not a number
   */
  predict(batch: ImageBatch, out: Float32Array): Promise<void>;
  /** The same distributions, by the same computation, with a trace of each image; its arrays are views of `out`. */
  trace(batch: ImageBatch, out: Float32Array, also?: AlsoQuery): Promise<readonly ImageTrace[]>;
}

/**
 * Section 5.4, with what a calibration chose.
 *
 * Cost: beside the networks, for each image one pass over the classes, another where labels have noise, and what the rule's
 * fast form costs.
 */
export function createInference(
  generalist: Network,
  specialists: SpecialistNetworks,
  settings: InferenceSettings,
): Inference {
  const classCount = generalist.definition.outputs;
  const { generalistTemperature, routingTop: top, routingMass: mass, routingMost: most } = settings;
  const { labelNoise = 0 } = settings;
  const configs = specialists.members.map(({ config }) => config);
  const kept = configs.map((config, m) => (settings.specialists[m].kept ? config : { classes: [] }));
  const router = createRouter(indexMembership(kept, classCount), { top, mass, most });
  const fusion = createFusion(generalist.operations, configs, settings, classCount);
  const query = createQuery(generalist, specialists, {
    temperature: generalistTemperature,
    largestGather: fusion.largestSubset,
    needsPlain: router.reads === 'masses',
    usesDustbin: fusion.usesDustbin,
  });

  async function run(batch: ImageBatch, out: Float32Array, also?: AlsoQuery): Promise<readonly ImageTrace[]> {
    const active: (readonly number[])[] = [];
    const queried = await query(
      batch,
      ({ plain, first }, image) => {
        active[image] = router.route(plain, first);
        return also ? [...new Set([...active[image], ...also(image)])] : active[image];
      },
      { isTraced: also !== undefined },
    );
    const pause = createPause(undefined, 'inference');
    try {
      for (const [image, positions] of active.entries()) {
        const turn = pause(); // what other computations do meanwhile may move the backend's memory, not what it holds
        if (turn) await turn;
        const q = rowOf(out, image, classCount);
        const softened = queried.softened(image);
        const predictions = queried.ofImage(image, positions);
        if (fusion.hasKernelFor(softened)) {
          fusion.fuse(softened, predictions);
          q.set(softened);
        } else {
          q.set(softened); // reads it in order, so that the fusion finds all of it in the cache
          fusion.fuse(q, predictions);
        }
        if (labelNoise > 0) addLabelNoise(q, labelNoise);
      }
      return also ? traceOf(queried, out, active, configs) : [];
    } finally {
      queried.dispose();
    }
  }
  return {
    async predict(batch, out) {
      await run(batch, out);
    },
    trace: (batch, out, also = () => []) => run(batch, out, also),
  };
}

function addLabelNoise(q: Float32Array, labelNoise: number): void {
  const withNoise = underLabelNoise(labelNoise, q.length);
  for (let c = 0; c < q.length; c++) q[c] = withNoise(q[c]);
}

function traceOf(
  queried: Queried,
  out: Float32Array,
  active: readonly (readonly number[])[],
  configs: readonly SpecialistConfig[],
): readonly ImageTrace[] {
  return active.map((taking, image): ImageTrace => {
    const generalist = queried.plain(image);
    const ensemble = rowOf(out, image, generalist.length);
    const specialists = queried.ofImage(image).map(({ position, logits, correction }) => ({
      position,
      isActive: taking.includes(position),
      probabilities: softmax(logits),
      correction,
      mass: {
        generalist: massOn(generalist, configs[position].classes),
        ensemble: massOn(ensemble, configs[position].classes),
      },
    }));
    return { generalist, ensemble, specialists };
  });
}

// The fusion.

/** The rule that a calibration chose, with its temperatures, weights and parameters. */
export interface Fusion {
  /** Whether the dustbin's logit, and so its correction and its anchor, makes a difference. */
  readonly usesDustbin: boolean;
  /** Classes of the largest subset, if its masses are worth noting beforehand; else 0. */
  readonly largestSubset: number;
  /** Whether a distribution lies where the fusion is fastest: in the memory of a backend that has kernels for it. */
  hasKernelFor(q: Float32Array): boolean;
  /**
   * Step 3, in place.
   *
   * @param q (classes), the generalist's distribution at its temperature; becomes the fused one
   * @param predictions of the active specialists, ascending; maybe none
   * @throws KdSpecError `fusion-input` when an output of a network is not a number
   */
  fuse(q: Float32Array, predictions: readonly SpecialistPrediction[]): void;
}

/**
 * The fast form of the fusion that a calibration chose.
 *
 * A network's output that is not a number spoils every value of its softmax, so that a look at one of them finds it.
 */
export function createFusion(
  operations: Operations,
  subsets: readonly { readonly classes: readonly number[] }[],
  settings: FusionSettings,
  classCount: number,
): Fusion {
  const { parameters = {}, specialists } = settings;
  const rule = fusionRule(settings.rule);
  const classesOf = subsets.map(({ classes }) => Int32Array.from(classes));
  const largestSubset = classesOf.reduce((most, { length }) => Math.max(most, length), 0);
  const kernel = operations.geometricMean(largestSubset + 1);
  const fuse = createFuseInPlace(rule, { classCount, largestSubset, parameters, kernel });
  const check = (value: number, owner: string) => {
    if (Number.isNaN(value)) throw notAProbability(owner, 0, value);
  };
  return {
    usesDustbin: rule.usesDustbin(parameters),
    largestSubset: kernel ? largestSubset : 0,
    hasKernelFor: (q) => kernel?.reaches(q) ?? false,
    fuse(q, predictions) {
      check(q[0], 'the generalist');
      if (predictions.length === 0) return;
      fuse(
        q,
        predictions.map(({ position, logits, masses }) => {
          const { temperature, weight, parameters } = specialists[position];
          return { classes: classesOf[position], logits, masses, temperature, weight, parameters };
        }),
      );
      for (const { position } of predictions) check(q[classesOf[position][0]], `specialist ${position}`);
    },
  };
}

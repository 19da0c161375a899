import type { Operations, Tensor, Tensor1D, Tensor2D } from '../compute/operations.js';
import { createPause } from '../core/pause.js';
import { softmax } from '../math/softmax.js';
import { type ImageBatch, rowOf } from '../models/classifier.js';
import type { Network } from '../models/network.js';
import { chunkSize } from '../models/network-classifier.js';
import type { NetworkPart } from '../models/network-definition.js';
import { runNetwork } from '../models/run-network.js';
import type { EnsembleFile } from './ensemble-file.js';
import { createRouter } from './routing.js';
import { notAProbability } from './rules/distributions.js';
import { fusionRule } from './rules/index.js';
import { createFuseInPlace, type ParameterValues } from './rules/rule.js';
import { routedCorrection } from './specialist/dustbin.js';
import type { SpecialistConfig } from './specialist/specialist.js';
import type { SpecialistInputs, SpecialistNetworks } from './specialist/specialist-networks.js';
import { indexMembership } from './subsets/membership.js';

// Section 5.4, from images to fused distributions: the generalist predicts, the specialists whose subsets it points
// to are queried, and what all of them predict is fused. `createInference` is these three steps; a trace keeps what
// they passed on to one another.

/** What inference needs to know of an `ensemble.json`. */
export type InferenceSettings = FusionSettings &
  Pick<EnsembleFile, 'routingTop'> &
  Partial<Pick<EnsembleFile, 'routingMass' | 'routingMost'>>;

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
  /** (classes), the fused distribution. */
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
  /** Mass on its subset, before the fusion and after it. */
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
 * Cost: beside the networks, for each image one pass over the classes and what the rule's fast form costs.
 */
export function createInference(
  generalist: Network,
  specialists: SpecialistNetworks,
  settings: InferenceSettings,
): Inference {
  const classCount = generalist.definition.outputs;
  const { generalistTemperature, routingTop: top, routingMass: mass, routingMost: most } = settings;
  const configs = specialists.members.map(({ config }) => config);
  const kept = configs.map((config, m) => (settings.specialists[m].kept ? config : { classes: [] }));
  const router = createRouter(indexMembership(kept, classCount), { top, mass, most });
  const fusion = createFusion(generalist.operations, configs, settings, classCount);
  const isCorrectedByImage =
    fusion.usesDustbin && configs.some(({ dustbin }) => dustbin.routed !== undefined);
  const query = createQuery(generalist, specialists, {
    temperature: generalistTemperature,
    largestGather: fusion.largestSubset,
    needsPlain: router.reads === 'masses' || isCorrectedByImage,
    isCorrectedByImage,
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

function massOn(probabilities: Float32Array, classes: readonly number[]): number {
  let mass = 0;
  for (const label of classes) mass += probabilities[label];
  return mass;
}

// The networks.

/** What the generalist predicts for an image, as far as routing looks at it. */
export interface GeneralistView {
  /** (classes), at temperature 1 where that is wanted, else at its own; good during the call. */
  readonly plain: Float32Array;
  /** The most probable class. */
  readonly first: number;
}

/** What a specialist predicts for an image. */
export interface SpecialistPrediction {
  readonly position: number;
  /** (s + 1), the dustbin last, its correction added. */
  readonly logits: Float32Array;
  /** What was added, in nats. */
  readonly correction: number;
  /** (s), the generalist's masses on the subset, at its temperature, where they were noted. */
  readonly masses?: Float32Array | undefined;
}

/** What generalist and queried specialists predict for a batch: all that fusion, calibration and traces need. */
export interface Queried {
  /** The generalist's distribution at its temperature, (classes), good until the next operation of the backend. */
  softened(image: number): Float32Array;
  /** The generalist's distribution at temperature 1, (classes); only of a traced query. */
  plain(image: number): Float32Array;
  /** The specialists that were queried for an image, or those of them that are named. */
  ofImage(image: number, positions?: readonly number[]): readonly SpecialistPrediction[];
  dispose(): void;
}

/** Runs the generalist on a batch, has `choose` name the specialists to query for each image, and runs those. */
export type Query = (
  batch: ImageBatch,
  choose: (generalist: GeneralistView, image: number) => readonly number[],
  options?: { readonly isTraced?: boolean },
) => Promise<Queried>;

/**
 * Makes the function that runs generalist and specialists, which is where the dustbins are corrected.
 *
 * The images go through the generalist's head in chunks, and then all specialists predict at once, each for its images.
 * Parts of the network that a specialist did not retrain are not run again for it.
 *
 * @param options.temperature of the generalist
 * @param options.needsPlain whether routing, or a dustbin's correction, needs its distribution at temperature 1, too
 * @param options.isCorrectedByImage whether the part of a correction that differs between images makes a difference; a
 *   traced query has it in any case
 * @param options.largestGather s of the largest subset whose masses are noted for the first specialist of an image,
 *   while its row is in the cache; 0 for none
 */
export function createQuery(
  generalist: Network,
  specialists: SpecialistNetworks,
  {
    temperature,
    needsPlain,
    isCorrectedByImage,
    largestGather = 0,
  }: {
    readonly temperature: number;
    readonly needsPlain: boolean;
    readonly isCorrectedByImage: boolean;
    readonly largestGather?: number;
  },
): Query {
  const { operations, definition } = generalist;
  const classCount = definition.outputs;
  const { height, width, channels } = definition.input;
  const imageSize = height * width * channels;
  const { members, parts } = specialists;

  return async (batch, choose, { isTraced = false } = {}) => {
    const { count } = batch;
    const pause = createPause(undefined, 'inference');
    const inputs = await generalist.inputsOf(batch);
    const most = chunkSize(classCount);
    const chunks: Chunk[] = [];
    const shared: SpecialistInputs[] = [];
    const predictions = Array.from({ length: count }, (): SpecialistPrediction[] => []);
    const queries = members.map((): { images: number[]; corrections: number[] } => ({
      images: [],
      corrections: [],
    }));
    const noted = new Float32Array(count * largestGather);
    const notedFor = new Int32Array(count).fill(-1); // a specialist's position
    const dispose = () => {
      for (const { softened } of chunks) softened.dispose();
      chunks.length = 0;
    };
    try {
      // 1. The generalist, and for each image the specialists that it points to.
      for (let start = 0; start < count; start += most) {
        const turn = pause();
        if (turn) await turn;
        const size = Math.min(most, count - start);
        const { keep, softened, plain } = operations.tidy(() => {
          const values = inputs.subarray(start * imageSize, (start + size) * imageSize);
          const input = operations.tensor(values, [size, height, width, channels]);
          const features = runNetwork(generalist, input, { to: 'convolutions' }); // (chunk, features)
          const hidden = runNetwork(generalist, features, { from: 'dense', to: 'dense' }); // (chunk, hidden)
          const taken: Record<NetworkPart, Tensor> = { convolutions: input, dense: features, head: hidden };
          return {
            keep: Object.fromEntries([...parts].map((part) => [part, taken[part]])),
            ...distributions(generalist, hidden, { temperature, wantsPlain: needsPlain || isTraced }),
          };
        });
        shared.push(keep);
        const chunk: Chunk = { softened, plain: undefined, rows: undefined };
        chunks.push(chunk);
        const firsts = await operations.firstLargest(plain ?? softened);
        if (plain) {
          chunk.plain = await operations.read(plain);
          plain.dispose();
        }
        const inPlace = operations.valuesInPlace(softened);
        if (inPlace === undefined) chunk.rows = await operations.read(softened);
        const rows = inPlace ?? chunk.rows ?? new Float32Array();
        if (isTraced && chunk.plain === undefined) chunk.plain = rows.slice();
        for (let place = 0; place < size; place++) {
          const image = start + place;
          const atOne = rowOf(chunk.plain ?? rows, place, classCount);
          const chosen = choose({ plain: atOne, first: firsts[place] }, image);
          for (const position of chosen) {
            const { images, corrections } = queries[position];
            images.push(image);
            const seen = isCorrectedByImage || isTraced ? atOne : undefined;
            corrections.push(dustbinCorrectionOf(members[position].config, seen));
          }
          if (largestGather > 0 && chosen.length > 0) {
            notedFor[image] = chosen[0];
            const { classes } = members[chosen[0]].config;
            const row = rowOf(rows, place, classCount);
            for (let i = 0, at = image * largestGather; i < classes.length; i++, at++)
              noted[at] = row[classes[i]];
          }
        }
      }

      // 2. The specialists, each over all of its images; and their dustbins corrected.
      const logitsOf = await specialists.logits(
        shared,
        queries.map(({ images }) => images),
      );
      for (const [position, { images, corrections }] of queries.entries()) {
        const dustbin = members[position].config.classes.length;
        for (const [place, image] of images.entries()) {
          const logits = logitsOf(position, place);
          const correction = corrections[place];
          logits[dustbin] += correction;
          const from = image * largestGather;
          const masses = notedFor[image] === position ? noted.subarray(from, from + dustbin) : undefined;
          predictions[image].push({ position, logits, correction, masses });
        }
      }
    } catch (error) {
      dispose();
      throw error;
    } finally {
      for (const inputs of shared) operations.dispose(Object.values(inputs));
    }
    return {
      softened(image) {
        const { softened, rows } = chunks[Math.floor(image / most)];
        const values = rows ?? operations.valuesInPlace(softened) ?? new Float32Array();
        return rowOf(values, image % most, classCount);
      },
      plain(image) {
        const rows = chunks[Math.floor(image / most)].plain ?? new Float32Array();
        return rowOf(rows, image % most, classCount);
      },
      ofImage: (image, positions) =>
        positions === undefined || positions.length === predictions[image].length
          ? predictions[image]
          : predictions[image].filter(({ position }) => positions.includes(position)),
      dispose,
    };
  };
}

/** What the generalist predicts for consecutive images. */
interface Chunk {
  /** (images, classes), at its temperature. */
  readonly softened: Tensor2D;
  /** The same on the host, where the backend's memory cannot be seen. */
  rows: Float32Array | undefined;
  /** (images, classes), at temperature 1, where wanted. */
  plain: Float32Array | undefined;
}

/**
 * The generalist's softmax at its temperature, and at temperature 1 where that is wanted and another.
 *
 * The head's input and bias are divided by the temperature: they are smaller than the logits. What else is wanted does
 * not change how the first is computed.
 *
 * @param hidden (images, hidden), the input of its head
 */
function distributions(
  generalist: Network,
  hidden: Tensor2D,
  { temperature, wantsPlain }: { readonly temperature: number; readonly wantsPlain: boolean },
): { readonly softened: Tensor2D; readonly plain?: Tensor2D } {
  const { operations } = generalist;
  const weights = generalist.variable<Tensor2D>('head.weights');
  const bias = generalist.variable<Tensor1D>('head.bias');
  if (temperature === 1) return { softened: operations.softmax(operations.dense(hidden, weights, bias)) };
  const scaled = operations.dense(
    operations.div(hidden, temperature),
    weights,
    operations.div(bias, temperature),
  );
  const softened = operations.softmax(scaled);
  return wantsPlain
    ? { softened, plain: operations.softmax(operations.mul(scaled, temperature)) }
    : { softened };
}

/**
 * What a specialist's dustbin logit is raised by for one image, in nats (section 5.2).
 *
 * @param generalist its distribution at temperature 1, (classes); none where the part that depends on it is not wanted
 */
function dustbinCorrectionOf(
  { classes, dustbin: { correction, routed } }: SpecialistConfig,
  generalist: Float32Array | undefined,
): number {
  if (routed === undefined || generalist === undefined) return correction;
  return correction + routedCorrection(massOn(generalist, classes), routed);
}

// The fusion.

/** The rule that a calibration chose, with its temperatures, weights and parameters. */
export interface Fusion {
  /** Whether the dustbin's logit, and so its correction, makes a difference. */
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

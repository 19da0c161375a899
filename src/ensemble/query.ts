import type { Tensor, Tensor1D, Tensor2D } from '../compute/operations.js';
import { createPause } from '../core/pause.js';
import { type ImageBatch, rowOf } from '../models/classifier.js';
import type { Network } from '../models/network.js';
import { chunkSize } from '../models/network-classifier.js';
import type { NetworkPart } from '../models/network-definition.js';
import { runHead, runNetwork } from '../models/run-network.js';
import { dustbinAnchor, routedCorrection } from './specialist/dustbin.js';
import type { SpecialistConfig } from './specialist/specialist.js';
import type { SpecialistInputs, SpecialistNetworks } from './specialist/specialist-networks.js';

// Steps 1 and 2 of section 5.4: the generalist predicts a batch, and so do the specialists that are queried for each
// image. Inference fuses it, calibration fits rules to it, a trace shows it.

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
  /** (s + 1), the dustbin last, its correction added, and its anchor where it has one. */
  readonly logits: Float32Array;
  /** What was added to correct it, in nats. */
  readonly correction: number;
  /** (s), the generalist's masses on the subset, at its temperature, where they were noted. */
  readonly masses?: Float32Array | undefined;
}

/** What generalist and queried specialists predict for a batch: all that fusion, calibration and traces need. */
export interface Queried {
  /**
   * The generalist's distribution at its temperature, (classes), good until the next operation of the backend; of a model
   * that was patched before, what its earlier specialists made of it, as it is.
   */
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
 * @param options.needsPlain whether routing needs its distribution at temperature 1, too
 * @param options.usesDustbin whether the dustbins make a difference: what is added to them for each image by itself is
 *   computed only then; a traced query has it in any case
 * @param options.largestGather s of the largest subset whose masses are noted for the first specialist of an image,
 *   while its row is in the cache; 0 for none
 */
export function createQuery(
  generalist: Network,
  specialists: SpecialistNetworks,
  {
    temperature,
    needsPlain,
    usesDustbin,
    largestGather = 0,
  }: {
    readonly temperature: number;
    readonly needsPlain: boolean;
    readonly usesDustbin: boolean;
    readonly largestGather?: number;
  },
): Query {
  const { operations, definition } = generalist;
  const classCount = definition.outputs;
  const { height, width, channels } = definition.input;
  const imageSize = height * width * channels;
  const { members, parts } = specialists;
  const isAnchored = members.some(({ config }) => config.head === 'anchored');
  const isCorrectedByImage = members.some(({ config }) => config.dustbin.routed !== undefined);

  return async (batch, choose, { isTraced = false } = {}) => {
    const hasDustbins = usesDustbin || isTraced;
    const wanted = {
      plain: needsPlain || isTraced || (hasDustbins && (isAnchored || isCorrectedByImage)),
      logSumExps: hasDustbins && isAnchored,
    };
    const { count } = batch;
    const pause = createPause(undefined, 'inference');
    const inputs = await generalist.inputsOf(batch);
    const before = await generalist.fusedBefore(batch);
    const most = chunkSize(classCount);
    const chunks: Chunk[] = [];
    const shared: SpecialistInputs[] = [];
    const predictions = Array.from({ length: count }, (): SpecialistPrediction[] => []);
    const queries = members.map((): { images: number[]; corrections: number[]; anchors: number[] } => ({
      images: [],
      corrections: [],
      anchors: [],
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
        const { keep, softened, plain, logSumExps } = operations.tidy(() => {
          const values = inputs.subarray(start * imageSize, (start + size) * imageSize);
          const input = operations.tensor(values, [size, height, width, channels]);
          const features = runNetwork(generalist, input, { to: 'convolutions' }); // (chunk, features)
          const hidden = runNetwork(generalist, features, { from: 'dense', to: 'dense' }); // (chunk, hidden)
          const taken: Record<NetworkPart, Tensor> = { convolutions: input, dense: features, head: hidden };
          return {
            keep: Object.fromEntries([...parts].map((part) => [part, taken[part]])),
            ...distributions(generalist, hidden, { temperature, wanted }),
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
        const sums = logSumExps && (await operations.read(logSumExps));
        logSumExps?.dispose();
        const inPlace = operations.valuesInPlace(softened);
        if (inPlace === undefined) chunk.rows = await operations.read(softened);
        const rows = inPlace ?? chunk.rows ?? new Float32Array();
        if (isTraced && chunk.plain === undefined) chunk.plain = rows.slice();
        for (let place = 0; place < size; place++) {
          const image = start + place;
          const atOne = rowOf(chunk.plain ?? rows, place, classCount);
          const chosen = choose({ plain: atOne, first: firsts[place] }, image);
          for (const position of chosen) {
            const { images, corrections, anchors } = queries[position];
            const { config } = members[position];
            images.push(image);
            corrections.push(dustbinCorrectionOf(config, hasDustbins ? atOne : undefined));
            anchors.push(
              sums && config.head === 'anchored'
                ? dustbinAnchor(sums[place], massOn(atOne, config.classes))
                : 0,
            );
          }
          if (largestGather > 0 && chosen.length > 0) {
            notedFor[image] = chosen[0];
            const { classes } = members[chosen[0]].config;
            const row = before ? rowOf(before, image, classCount) : rowOf(rows, place, classCount);
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
      for (const [position, { images, corrections, anchors }] of queries.entries()) {
        const dustbin = members[position].config.classes.length;
        for (const [place, image] of images.entries()) {
          const logits = logitsOf(position, place);
          const correction = corrections[place];
          logits[dustbin] += correction + anchors[place];
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
        if (before) return rowOf(before, image, classCount);
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
 * The generalist's softmax at its temperature; where wanted, its softmax at temperature 1, unless that is the same, and
 * the log-sum-exps of its logits, (images).
 *
 * The head's input and bias are divided by the temperature: they are smaller than the logits. What else is wanted does
 * not change how the first is computed.
 *
 * @param hidden (images, hidden), the input of its head
 */
function distributions(
  generalist: Network,
  hidden: Tensor2D,
  {
    temperature,
    wanted,
  }: {
    readonly temperature: number;
    readonly wanted: { readonly plain: boolean; readonly logSumExps: boolean };
  },
): { readonly softened: Tensor2D; readonly plain?: Tensor2D; readonly logSumExps?: Tensor1D } {
  const { operations } = generalist;
  const sums = (logits: Tensor2D) =>
    wanted.logSumExps ? { logSumExps: operations.rowLogSumExps(logits) } : {};
  if (temperature === 1) {
    const logits = runHead(generalist, hidden);
    return { softened: operations.softmax(logits), ...sums(logits) };
  }
  const scaled = runHead(generalist, hidden, { temperature });
  const softened = operations.softmax(scaled);
  if (!wanted.plain) return { softened };
  const logits = operations.mul(scaled, temperature);
  return { softened, plain: operations.softmax(logits), ...sums(logits) };
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

/** The mass of a distribution on some classes. */
export function massOn(probabilities: Float32Array, classes: readonly number[]): number {
  let mass = 0;
  for (const label of classes) mass += probabilities[label];
  return mass;
}

import type { Operations, Tensor1D, Tensor2D, Tensor4D } from '../compute/operations.js';
import type { Network } from '../models/network.js';
import type { NetworkPart } from '../models/network-definition.js';
import { askSpecialists, type PartInputs, partInputs } from './ask-specialists.js';
import type { FusionSettings } from './calibration/calibrated-fusion.js';
import { createRowFuser, type HeardAnswer } from './calibration/row-fuser.js';
import { correctionOf, rowsIn, rowsOf } from './consult.js';
import type { Specialist } from './specialist/specialist.js';

/** Images that the generalist is asked about at once, and bytes of logits: what a cache does not hold is slower. */
const chunkImages = 128;
const chunkBytes = 2 ** 23;

/** A distribution an image, each (classes); several share one array. */
export type Rows = readonly Float32Array[];

/**
 * The generalist's distributions for a batch.
 *
 * @param images (batch, height, width, channels), in [0, 1]
 */
export async function predictGeneralist(
  generalist: Network,
  images: Tensor4D,
  { out }: PredictOptions = {},
): Promise<Rows> {
  const { operations } = generalist;
  const rows = roomFor(images.shape[0], generalist.definition.outputs, out);
  for (const { start, inputs, softened } of chunks(generalist, images, 1)) {
    operations.dispose(inputs);
    const said = viewOf(operations, softened) ?? (await dataOf(operations, softened));
    for (const [place, row] of said.entries()) rows[start + place].set(row);
    softened.dispose();
  }
  return rows;
}

/** Where distributions go. */
export interface PredictOptions {
  /**
   * (batch * classes or more), for the distributions of this batch: one array for all batches spares the system from
   * finding fresh memory for each. None makes a new one.
   */
  readonly out?: Float32Array | undefined;
}

/** Answers batch after batch, (batch, height, width, channels) in [0, 1]. */
export type Predictor = (images: Tensor4D, options?: PredictOptions) => Promise<Rows>;

/**
 * Returns the ensemble as a function from a batch to the fused distributions alone: `Ensemble.distributions` without
 * what only an inspection wants, in single precision.
 *
 * The generalist's softmax, at its temperature, becomes the fused distribution, where the backend allows it when it is
 * copied. The images of a batch go
 * through the generalist's head in chunks, and through each specialist at once: the more images, the fewer calls.
 *
 * @returns a function that throws KdSpecError `fusion-input` if an output of a network is not a number
 */
export function createPredictor(
  generalist: Network,
  specialists: readonly Specialist[],
  settings: FusionSettings,
  route: Route,
): Predictor {
  const { operations } = generalist;
  const { generalistTemperature: temperature } = settings;
  const subsets = specialists.map(({ config }) => Int32Array.from(config.classes));
  const fuser = createRowFuser(operations, settings, subsets, generalist.definition.outputs);
  const isRouted = specialists.some(({ config }) => config.dustbin.routed !== undefined);
  const isByMass = route.by === 'distribution' && route.atTemperatureOne;
  const needsPlain = temperature !== 1 && (isByMass || (fuser.hearsDustbin && isRouted));

  return async (images, { out } = {}) => {
    const [batch] = images.shape;
    const questions = specialists.map((): Questions => ({ images: [], corrections: [] }));
    const answers = Array.from({ length: batch }, (): HeardAnswer[] => []);
    const notes = fuser.notes(batch);
    const said: { tensor: Tensor2D; rows: Rows | undefined }[] = []; // by the generalist, of consecutive images
    const parts: PartInputs[] = [];
    try {
      for (const { start, inputs, softened } of chunks(generalist, images, temperature)) {
        parts.push(inputs);
        const plainTensor = needsPlain ? softmaxAt(generalist, inputs, 1) : undefined;
        const first = route.by === 'first' ? await operations.firstLargest(softened) : undefined;
        const plain = plainTensor && (await rowsOf(operations, plainTensor));
        const inPlace = viewOf(operations, softened);
        const rows = inPlace ?? (await dataOf(operations, softened));
        said.push({ tensor: softened, rows: inPlace ? undefined : rows });
        for (const [place, row] of rows.entries()) {
          const image = start + place;
          const atOne = plain ? plain[place] : row;
          const asked = route.by === 'first' ? route.call(first?.[place] ?? 0) : route.call(atOne);
          for (const specialist of asked) {
            const { images, corrections } = questions[specialist];
            images.push(image);
            if (fuser.hearsDustbin) corrections.push(correctionOf(specialists[specialist].config, atOne));
          }
          if (asked.length > 0) fuser.note(notes, image, row, asked[0]);
        }
      }
      const asked = questions.map((ofSpecialist) => ofSpecialist.images);
      const whole = together(operations, parts);
      parts.push(whole);
      await askSpecialists(specialists, whole, asked, ({ specialist, image, place, logits }) => {
        if (fuser.hearsDustbin) logits[logits.length - 1] += questions[specialist].corrections[place];
        answers[image].push({ specialist, logits });
      });
      const fused = roomFor(batch, generalist.definition.outputs, out);
      let image = 0;
      for (const { tensor, rows } of said) {
        for (const row of rows ?? viewOf(operations, tensor) ?? []) {
          fused[image].set(row); // reads it in order, so that the fusion finds all of it in the cache
          fuser.fuse(notes, image, fused[image], answers[image]);
          image++;
        }
      }
      return fused;
    } finally {
      operations.dispose(parts);
      for (const { tensor } of said) tensor.dispose();
    }
  };
}

/** The rows of a matrix that JavaScript can read where they lie, as long as no operation runs. */
function viewOf(operations: Operations, matrix: Tensor2D): Rows | undefined {
  const values = operations.valuesInPlace(matrix);
  return values && rowsIn(values, matrix.shape[1]);
}

/** A copy of the rows of any other. */
async function dataOf(operations: Operations, matrix: Tensor2D): Promise<Rows> {
  return rowsIn(await operations.read(matrix), matrix.shape[1]);
}

function roomFor(
  images: number,
  classes: number,
  out: Float32Array = new Float32Array(images * classes),
): Rows {
  return rowsIn(out.subarray(0, images * classes), classes);
}

/** Which specialists are asked, by position, ascending. */
export type Route =
  | { readonly by: 'first'; readonly call: (firstClass: number) => readonly number[] }
  | {
      readonly by: 'distribution';
      readonly call: (probabilities: Float32Array) => readonly number[];
      /** Whether another temperature would be another route. */
      readonly atTemperatureOne: boolean;
    };

/** What a specialist is asked. */
interface Questions {
  readonly images: number[];
  /** Of its dustbin's logit for each image; none if it makes no difference. */
  readonly corrections: number[];
}

/** Some consecutive images of a batch; its consumer disposes of the tensors. */
interface Chunk {
  /** The first one. */
  readonly start: number;
  readonly inputs: PartInputs;
  /** (images, classes), their distributions. */
  readonly softened: Tensor2D;
}

/** The generalist's distributions of a batch at a temperature, chunk by chunk. */
function* chunks(generalist: Network, images: Tensor4D, temperature: number): Generator<Chunk> {
  const { operations } = generalist;
  const [batch] = images.shape;
  const fitting = Math.floor(chunkBytes / (4 * generalist.definition.outputs));
  const most = Math.max(1, Math.min(chunkImages, fitting));
  for (let start = 0; start < batch; start += most) {
    const count = Math.min(most, batch - start);
    const inputs = operations.tidy(() =>
      partInputs(generalist, count === batch ? images : operations.rowRange(images, start, count)),
    );
    yield { start, inputs, softened: softmaxAt(generalist, inputs, temperature) };
  }
}

/** The inputs of consecutive chunks as those of one. */
function together(operations: Operations, parts: readonly PartInputs[]): PartInputs {
  const join = (part: NetworkPart) => operations.concat(parts.map((inputs) => inputs[part]));
  return { convolutions: join('convolutions'), dense: join('dense'), head: join('head') };
}

/** (images, classes) */
function softmaxAt(generalist: Network, { head }: PartInputs, temperature: number): Tensor2D {
  const { operations } = generalist;
  return operations.tidy(() => operations.softmax(headAt(generalist, head as Tensor2D, temperature)));
}

/** The head's logits divided by a temperature: its input and its bias are, which are smaller. */
function headAt(generalist: Network, hidden: Tensor2D, temperature: number): Tensor2D {
  const { operations } = generalist;
  const weights = generalist.variable<Tensor2D>('head.weights');
  const bias = generalist.variable<Tensor1D>('head.bias');
  if (temperature === 1) return operations.dense(hidden, weights, bias);
  return operations.dense(
    operations.div(hidden, temperature),
    weights,
    operations.div<Tensor1D>(bias, temperature),
  );
}

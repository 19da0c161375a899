import { type Classifier, type ClassNames, createClassifier, lowestLogProbability } from '../classifier.js';
import { findClassNames } from './class-names.js';
import { wholeModel } from './constants.js';
import {
  findImageInput,
  type InputHints,
  type OnnxImageInput,
  possibleReadings,
  toModelInput,
} from './image-input.js';
import {
  declaredExtents,
  fusedOutputKey,
  invalid,
  type OutputHolds,
  outputHolds,
  readOnnxModel,
} from './model-file.js';
import { type OutputTensor, openSession } from './runtime.js';

/** How a foreign model is opened as it is, without a look inside. */
export interface OnnxClassifierOptions extends InputHints {
  /** A file with the names of its classes; else they are read from the model. */
  readonly labels?: string | undefined;
  /** The names that the outputs are taken to have, in their order, where the model has none. */
  readonly fallbackClasses?: ClassNames | undefined;
  /** Gets a sentence for each thing that was assumed. */
  readonly note?: ((text: string) => void) | undefined;
}

/**
 * An ONNX model as a classifier, by its first output of (batch, classes), or, of a model that kd-spec exported, by the
 * fused one.
 *
 * What the output holds is read from the operators that make it, once for the model. Where the model does not say how
 * its images are normalised, values from 0 to 1 are taken, red first.
 *
 * @throws KdSpecError `not-found`, `checkpoint-invalid`
 */
export async function openOnnxClassifier(
  path: string,
  { labels, fallbackClasses, note = () => {}, ...hints }: OnnxClassifierOptions = {},
): Promise<Classifier> {
  const model = await readOnnxModel(path);
  const fused = model.metadata.get(fusedOutputKey);
  const output = model.graph.output.find(({ name }) => name === fused) ?? model.graph.output[0];
  const holds = output.name === fused ? 'probabilities' : outputHolds(model, output.name);
  const input = await findImageInput(model, hints);
  const [reading, ...others] = possibleReadings(input);
  for (const text of input.notes) note(text);
  if (others.length > 0) note(`${path}: images are given as ${reading.normalisation.name}, ${reading.order}`);
  if (holds === 'scores')
    note(`${path}: its scores are independent of each other; their logits are taken as a softmax's`);

  const session = await openSession(await wholeModel(model), { name: path });
  const run = async (images: Float32Array, count: number): Promise<OutputTensor> => {
    const results = await session.run({ [input.name]: toModelInput(input, reading, images, count) }, [
      output.name,
    ]);
    const found = results.get(output.name);
    if (found?.shape.length === 2 && found.shape[0] === count) return found;
    throw invalid(path, `expected an output of [${count}, classes], got [${found?.shape.join(', ')}]`);
  };
  try {
    const size = input.image.height * input.image.width * input.image.channels;
    const batch = input.batch ?? (await takesTwo(run, size));
    const width =
      declaredExtents(output)?.at(-1) ?? (await run(new Float32Array(batch * size), batch)).shape[1];
    const found = await findClassNames(model, width, { isSequence: false, labels });
    const isFallback = found.source === 'none' && fallbackClasses?.length === width;
    const classes = isFallback ? fallbackClasses : found.names;
    if (isFallback)
      note(
        `${path}: it has no class names: its outputs are taken to be in the order of the data set's classes`,
      );
    else for (const text of found.notes) note(text);
    const most = input.batch ?? (batch === 1 ? 1 : Number.POSITIVE_INFINITY);
    return createClassifier({
      name: path,
      classes,
      input: { kind: 'images', image: input.image },
      async logits({ images, count }, out) {
        for (let first = 0; first < count; ) {
          const some = Math.min(most, count - first);
          const part = padded(images.subarray(first * size, (first + some) * size), input.batch, size);
          const { values } = await run(part, part.length / size);
          writeLogits(path, holds, values.subarray(0, some * width), out.subarray(first * width));
          first += some;
        }
      },
      dispose: () => session.dispose(),
    });
  } catch (error) {
    session.dispose();
    throw error;
  }
}

/** 2 where a model of a free batch runs two images at once, else 1: some exporters fix the batch without saying so. */
async function takesTwo(
  run: (images: Float32Array, count: number) => Promise<unknown>,
  size: number,
): Promise<1 | 2> {
  await run(new Float32Array(size), 1); // a refusal of one image is the model's own error
  return run(new Float32Array(2 * size), 2).then(
    () => 2,
    () => 1,
  );
}

/** Black images after the last, where the model takes a fixed number. */
function padded(images: Float32Array, batch: OnnxImageInput['batch'], size: number): Float32Array {
  if (batch === undefined || images.length === batch * size) return images;
  const all = new Float32Array(batch * size);
  all.set(images);
  return all;
}

function writeLogits(path: string, holds: OutputHolds, values: Float32Array, out: Float32Array): void {
  const floor = (value: number) => Math.max(lowestLogProbability, value);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (!Number.isFinite(value)) throw invalid(path, 'its output is not finite for these images');
    if (holds === 'probabilities') out[i] = floor(Math.log(Math.max(0, value)));
    else if (holds === 'scores') out[i] = floor(Math.log(value / (1 - value + 1e-12)));
    else out[i] = value;
  }
}

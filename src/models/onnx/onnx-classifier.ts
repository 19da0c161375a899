import { TensorProto_DataType, type ValueInfoProto } from 'onnx-buf';
import { areDistributions } from '../../math/distribution.js';
import { type Classifier, type ClassNames, createClassifier, lowestLogProbability } from '../classifier.js';
import { findClassNames } from './class-names.js';
import { wholeModel } from './constants.js';
import { headsOf, mostLikely, withFeatures } from './find-head.js';
import { findImageInput, possibleReadings } from './image-input.js';
import { openImageSession, type SessionPart } from './image-session.js';
import {
  fusedOutputKey,
  invalid,
  type OnnxModel,
  type OutputHolds,
  outputHolds,
  readOnnxModel,
} from './model-file.js';
import type { InputHints } from './reading.js';
import type { RuntimeName } from './runtime.js';
import type { OutputTensor } from './session.js';
import { expectInference } from './training-mode.js';

const sumTolerance = 1e-3; // of probabilities in half precision

/** How a foreign model is opened as it is, without a look inside. */
export interface OnnxClassifierOptions extends InputHints {
  /** A file with the names of its classes; else they are read from the model. */
  readonly labels?: string | undefined;
  /** The names that the outputs are taken to have, in their order, where the model has none. */
  readonly fallbackClasses?: ClassNames | undefined;
  /** Which ONNX Runtime; default the fastest that is installed. */
  readonly runtime?: RuntimeName | undefined;
  /** Gets a sentence for each thing that was assumed. */
  readonly note?: ((text: string) => void) | undefined;
}

/**
 * An ONNX model as a classifier, by its output of (batch, classes): of several, that which its last layer makes, as an import
 * finds it, or of a model that kd-spec exported the fused one.
 *
 * What the output holds is read from the operators that make it, once for the model; where these are of other kinds,
 * numbers that sum to 1 are probabilities. Where the model does not say how its images are normalised, values from 0 to 1
 * are taken, red first.
 *
 * @throws KdSpecError `not-found`, `checkpoint-invalid`
 */
export async function openOnnxClassifier(
  path: string,
  { labels, fallbackClasses, runtime, note = () => {}, ...hints }: OnnxClassifierOptions = {},
): Promise<Classifier> {
  const model = await readOnnxModel(path);
  const fused = model.metadata.get(fusedOutputKey);
  const output = model.graph.output.find(({ name }) => name === fused) ?? (await ownOutput(model, note));
  for (const warning of await expectInference(model, [output.name])) note(`${path}: ${warning}`);
  let holds = output.name === fused ? 'probabilities' : outputHolds(model, output.name);
  const input = await findImageInput(model, hints);
  const [reading, ...others] = possibleReadings(input);
  for (const text of [...input.notes, ...input.warnings]) note(text);
  if (others.length > 0)
    note(
      `${path}: images are given as ${reading.normalisation.name}, ${reading.order}: nothing says what it takes, as ` +
        'preprocessor_config.json beside it would',
    );
  if (holds === 'scores')
    note(`${path}: its scores are independent of each other; their logits are taken as a softmax's`);

  const feed = { name: input.name, form: input, reading, batch: input.batch };
  const session = await openImageSession(await wholeModel(model), feed, { path, runtime });
  const size = input.image.height * input.image.width * input.image.channels;
  const rowsOf = ({ results, ran }: SessionPart): OutputTensor => {
    const found = results.get(output.name);
    if (found?.shape.length === 2 && found.shape[0] === ran) return found;
    throw invalid(path, `expected an output of [${ran}, classes], got [${found?.shape.join(', ')}]`);
  };
  try {
    let width = 0;
    // A black image and a white one show that the model runs, and how many classes it has.
    await session.run(
      { images: new Float32Array(2 * size).fill(1, size), count: 2 },
      [output.name],
      (part) => {
        const { shape, values } = rowsOf(part);
        width = shape[1];
        if (holds !== 'logits' || !areDistributions(values, width, sumTolerance)) return;
        holds = 'probabilities';
        note(`${path}: its outputs sum to 1 and are taken as probabilities`);
      },
    );
    const found = await findClassNames(model, width, { isSequence: false, labels });
    const isFallback = found.source === 'none' && fallbackClasses?.length === width;
    const classes = isFallback ? fallbackClasses : found.names;
    if (isFallback)
      note(
        `${path}: it has no class names: its outputs are taken to be in the order of the data set's classes`,
      );
    else for (const text of found.notes) note(text);
    for (const text of found.warnings) note(text);
    return createClassifier({
      name: path,
      classes,
      input: { kind: 'images', image: input.image },
      logits: (batch, out) =>
        session.run(batch, [output.name], (part) => {
          const values = rowsOf(part).values.subarray(0, part.count * width);
          writeLogits(path, holds, values, out.subarray(part.first * width));
        }),
      dispose: () => session.dispose(),
    });
  } catch (error) {
    session.dispose();
    throw error;
  }
}

/**
 * The output with the classes: that of the last layer, unless another is made of it in a way that is not understood; else the
 * first that holds real numbers.
 */
async function ownOutput(model: OnnxModel, note: (text: string) => void): Promise<ValueInfoProto> {
  const outputs = model.graph.output;
  if (outputs.length === 1) return outputs[0];
  const read = await withFeatures(model)
    .then((made) => headsOf(made))
    .catch(() => undefined);
  const head = read && mostLikely([...read.heads, ...read.aside.filter(({ isHead }) => isHead)]);
  const isLater = ({ name }: ValueInfoProto) => head !== undefined && isMadeOf(model, name, head.output);
  const found =
    outputs.find((output) => isReal(output) && isLater(output)) ??
    outputs.find(({ name }) => name === head?.output) ??
    outputs.find(isReal) ??
    outputs[0];
  const isOther = read?.areOne === false;
  const ofHead = isOther ? ', one of several last layers' : ', which its last layer makes';
  note(
    `${model.path}: of its outputs ${outputs.map(({ name }) => `"${name}"`).join(', ')}, "${found.name}" is taken` +
      (found.name === head?.output ? ofHead : '') +
      (isOther ? ': where another one is meant, export the model with that alone' : ''),
  );
  return found;
}

/** Whether a value is computed from another one. */
function isMadeOf(model: OnnxModel, name: string, other: string): boolean {
  const seen = new Set<string>();
  const open = [...(model.producers.get(name)?.input ?? [])];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (value === other) return true;
    if (seen.has(value)) continue;
    seen.add(value);
    open.push(...(model.producers.get(value)?.input ?? []));
  }
  return false;
}

function isReal({ type }: ValueInfoProto): boolean {
  const { FLOAT, FLOAT16, DOUBLE } = TensorProto_DataType;
  return type?.value.case === 'tensorType' && [FLOAT, FLOAT16, DOUBLE].includes(type.value.value.elemType);
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

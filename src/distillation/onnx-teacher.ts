import { createRequire } from 'node:module';
import { KdSpecError } from '../core/errors.js';
import type { ImageShape } from '../data/source.js';
import { lowestLogProbability, type Question, type Teacher } from './teacher.js';

/** The part of onnxruntime-node that this file needs: it is an optional peer, loaded only for an ONNX teacher. */
interface Runtime {
  readonly InferenceSession: {
    create(path: string): Promise<Session>;
  };
  readonly Tensor: new (type: 'float32', data: Float32Array, shape: readonly number[]) => unknown;
}
interface Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(feeds: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, Output>>>;
  release(): Promise<void>;
}
interface Output {
  readonly data: unknown;
  readonly dims: readonly number[];
}

const require = createRequire(import.meta.url);

/**
 * An ONNX model as a teacher: one input of images in [0, 1], its first output (batch, classes) logits or probabilities.
 *
 * The layout of the input, channels last or first, or flat, is found by asking the model about one black image in
 * each. An output whose rows are not negative and sum to 1 is taken for probabilities. A model that takes one image at
 * a time, as many exporters make them, is asked so.
 *
 * @param path of the `.onnx` file
 * @param image of the transfer set
 * @throws KdSpecError `backend-unavailable` without onnxruntime-node; `checkpoint-invalid` when the model does not
 * take such images or answers in another shape
 */
export async function onnxTeacher(name: string, path: string, image: ImageShape): Promise<Teacher> {
  const { InferenceSession, Tensor } = loadRuntime();
  const invalid = (what: string, cause?: unknown) =>
    new KdSpecError('checkpoint-invalid', `${path}: ${what}`, { cause });
  const session = await InferenceSession.create(path).catch((cause: unknown) => {
    throw invalid(`expected an ONNX model, but it cannot be loaded (${reason(cause)})`, cause);
  });
  const [input] = session.inputNames;
  const [output] = session.outputNames;
  const run = async (images: Float32Array, layout: Layout) => {
    const batch = images.length / (image.height * image.width * image.channels);
    const tensor = new Tensor('float32', layout.arrange(images, image), [batch, ...layout.shape(image)]);
    const { data, dims } = (await session.run({ [input]: tensor }))[output];
    if (!(data instanceof Float32Array) || dims.length !== 2 || dims[0] !== batch)
      throw invalid(`expected float32 answers of shape [${batch}, classes], got [${dims.join(', ')}]`);
    return { answers: data, classes: dims[1] };
  };

  const failures: string[] = [];
  for (const layout of layouts) {
    const black = new Float32Array(image.height * image.width * image.channels);
    const probe = await run(black, layout).catch((cause: unknown) => {
      failures.push(`${layout.name}: ${reason(cause)}`);
      return undefined;
    });
    if (!probe) continue;
    const size = black.length;
    const takesMany = await run(new Float32Array(2 * size), layout).then(
      () => true,
      () => false,
    );
    const ask = async (images: Float32Array) => {
      if (takesMany) return (await run(images, layout)).answers;
      const rows = images.length / size;
      const answers = new Float32Array(rows * probe.classes);
      for (let row = 0; row < rows; row++) {
        const one = await run(images.slice(row * size, (row + 1) * size), layout);
        answers.set(one.answers, row * probe.classes);
      }
      return answers;
    };
    return {
      name,
      classes: probe.classes,
      answersAnyImage: true,
      async answer({ images }: Question) {
        const answers = await ask(images);
        if (!answers.every(Number.isFinite)) throw invalid('it answers with numbers that are not finite');
        return areProbabilities(answers, probe.classes)
          ? answers.map((value) => Math.max(lowestLogProbability, Math.log(value)))
          : answers.slice();
      },
      dispose() {
        void session.release().catch(() => {});
      },
    };
  }
  await session.release();
  const { height, width, channels } = image;
  throw invalid(
    `expected a model of images of ${height} x ${width} x ${channels}, channels last, first or flat; it refuses all ` +
      `(${failures.join('; ')}): make the data set with the size that the model takes (--image-size, --channels)`,
  );
}

interface Layout {
  readonly name: string;
  shape(image: ImageShape): readonly number[];
  /** From (batch, height, width, channels). */
  arrange(images: Float32Array, image: ImageShape): Float32Array;
}

const layouts: readonly Layout[] = [
  {
    name: 'channels last',
    shape: ({ height, width, channels }) => [height, width, channels],
    arrange: (images) => images,
  },
  {
    name: 'channels first',
    shape: ({ height, width, channels }) => [channels, height, width],
    arrange: channelsFirst,
  },
  {
    name: 'flat',
    shape: ({ height, width, channels }) => [height * width * channels],
    arrange: (images) => images,
  },
];

function channelsFirst(images: Float32Array, { height, width, channels }: ImageShape): Float32Array {
  if (channels === 1) return images;
  const size = height * width;
  const out = new Float32Array(images.length);
  for (let at = 0; at < images.length; at++) {
    const channel = at % channels;
    const pixel = Math.floor(at / channels) % size;
    const image = Math.floor(at / (channels * size));
    out[(image * channels + channel) * size + pixel] = images[at];
  }
  return out;
}

function areProbabilities(values: Float32Array, classes: number): boolean {
  for (let start = 0; start < values.length; start += classes) {
    let sum = 0;
    for (let index = start; index < start + classes; index++) {
      if (values[index] < 0) return false;
      sum += values[index];
    }
    if (Math.abs(sum - 1) > 1e-3) return false;
  }
  return true;
}

function loadRuntime(): Runtime {
  try {
    return require('onnxruntime-node') as Runtime;
  } catch (cause) {
    throw new KdSpecError(
      'backend-unavailable',
      `an ONNX teacher needs the package onnxruntime-node, which does not load here (${reason(cause)}): ` +
        'run `npm install onnxruntime-node` (with ONNXRUNTIME_NODE_INSTALL=skip where its install step fails)',
      { cause },
    );
  }
}

function reason(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0];
}

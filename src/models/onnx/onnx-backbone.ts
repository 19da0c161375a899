import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  type GraphProto,
  GraphProtoSchema,
  NodeProtoSchema,
  TensorProto_DataType,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import { z } from 'zod';
import { assert, KdSpecError } from '../../core/errors.js';
import { type Backbone, createBackbone } from '../backbone.js';
import { wholeModel } from './constants.js';
import { toModelInput } from './image-input.js';
import { invalid, type OnnxModel, readOnnxModel } from './model-file.js';
import { type OutputTensor, openSession } from './runtime.js';

const count = z.int().positive();
const channel = z.array(z.number()).min(1).max(3).readonly();

/** How a foreign model is cut and fed: what `config.json` of an imported generalist says about its backbone. */
export const onnxBackboneSchema = z.strictObject({
  kind: z.literal('onnx'),
  /** The name of the model's file beside `config.json`. */
  model: z.string(),
  /** The value of the graph that its head takes, and how many numbers of an image that is. */
  features: z.string(),
  width: count,
  /** The output that was followed back to the head. */
  output: z.string(),
  /** The class of a sequence recogniser that stands for no character; null for any other model. */
  blank: z.int().nonnegative().nullable(),
  input: z.strictObject({
    name: z.string(),
    type: z.enum(['float32', 'float16', 'float64', 'uint8']),
    layout: z.enum(['channels-first', 'channels-last', 'flat']),
    image: z.strictObject({ height: count, width: count, channels: z.union([z.literal(1), z.literal(3)]) }),
    /** Images that the model takes at once; null for any number. */
    batch: count.nullable(),
  }),
  reading: z.strictObject({
    order: z.enum(['rgb', 'bgr']),
    normalisation: z.strictObject({ name: z.string(), mean: channel, deviation: channel }),
  }),
});

export type OnnxBackboneDescription = z.infer<typeof onnxBackboneSchema>;

/** The output that holds the blank of each step, in the graph that runs. */
const blankOutput = 'kd_spec_blank';

/**
 * Opens the backbone of an imported generalist.
 *
 * @param directory the generalist's artefact folder, in which the model lies
 * @param description from `config.json`
 * @throws KdSpecError `checkpoint-invalid`
 */
export async function loadOnnxBackbone(directory: string, description: unknown): Promise<Backbone> {
  const { model, backbone } = await readImportedModel(directory, description);
  return openOnnxBackbone(model, backbone);
}

/**
 * Reads the model of an imported generalist, and how it is cut and fed.
 *
 * @throws KdSpecError `checkpoint-invalid`
 */
export async function readImportedModel(
  directory: string,
  description: unknown,
): Promise<{ readonly model: OnnxModel; readonly backbone: OnnxBackboneDescription }> {
  const parsed = onnxBackboneSchema.safeParse(description);
  if (!parsed.success) {
    throw new KdSpecError(
      'checkpoint-invalid',
      `${join(directory, 'config.json')}: backbone: ${z.prettifyError(parsed.error)}; import the model again`,
    );
  }
  return { model: await readOnnxModel(join(directory, parsed.data.model)), backbone: parsed.data };
}

/**
 * An ONNX model up to the input of its head.
 *
 * Of a sequence recogniser (CTC), which predicts for several steps of an image, the step where its blank is least
 * probable counts: with it, it serves as a classifier of single characters.
 *
 * @throws KdSpecError `checkpoint-invalid`
 */
export async function openOnnxBackbone(
  model: OnnxModel,
  { features: name, width, output, blank, input, reading }: OnnxBackboneDescription,
): Promise<Backbone> {
  const session = await openSession(await wholeModel(model, cutGraph(model, name, output, blank)), {
    name: model.path,
  });
  const outputs = blank === null ? [name] : [name, blankOutput];
  /** Images that the model takes at once; 1 once it refused more, since some exporters fix the batch without saying so. */
  let most = input.batch ?? Number.POSITIVE_INFINITY;

  const runSome = async (images: Float32Array, count: number, out: Float32Array) => {
    const results = await session.run({ [input.name]: toModelInput(input, reading, images, count) }, outputs);
    const features = results.get(name);
    assert(features !== undefined, 'the session returns what was named');
    takeFeatures(model, features, results.get(blankOutput), { count, width, out });
  };
  /** A model of a fixed batch gets black images after the last. */
  const runPadded = async (images: Float32Array, batch: number, out: Float32Array) => {
    const size = input.image.height * input.image.width * input.image.channels;
    const padded = new Float32Array(batch * size);
    padded.set(images);
    const features = new Float32Array(batch * width);
    await runSome(padded, batch, features);
    out.set(features.subarray(0, out.length));
  };

  return createBackbone({
    name: model.path,
    width,
    input: { kind: 'images', image: input.image },
    async features({ images, count }, out) {
      const size = images.length / count;
      for (let first = 0; first < count; ) {
        const some = Math.min(most, count - first);
        const from = images.subarray(first * size, (first + some) * size);
        const to = out.subarray(first * width, (first + some) * width);
        try {
          if (input.batch !== null && some < input.batch) await runPadded(from, input.batch, to);
          else await runSome(from, some, to);
          first += some;
        } catch (error) {
          if (some === 1 || most !== Number.POSITIVE_INFINITY) throw error;
          most = 1;
        }
      }
    },
    dispose: () => session.dispose(),
  });
}

/** The graph with the features as its output instead of its own: the runtime leaves out what they do not need. */
function cutGraph(model: OnnxModel, features: string, output: string, blank: number | null): GraphProto {
  const { graph } = model;
  const named = (name: string) => create(ValueInfoProtoSchema, { name });
  const index = `${blankOutput}_index`;
  const nodes =
    blank === null
      ? []
      : [
          create(NodeProtoSchema, {
            opType: 'Gather',
            name: blankOutput,
            input: [output, index],
            output: [blankOutput],
            attribute: [
              create(AttributeProtoSchema, { name: 'axis', type: AttributeProto_AttributeType.INT, i: 2n }),
            ],
          }),
        ];
  const constants =
    blank === null
      ? []
      : [
          create(TensorProtoSchema, {
            name: index,
            dataType: TensorProto_DataType.INT64,
            int64Data: [BigInt(blank)],
          }),
        ];
  return create(GraphProtoSchema, {
    ...graph,
    node: [...graph.node, ...nodes],
    initializer: [...graph.initializer, ...constants],
    output: blank === null ? [named(features)] : [named(features), named(blankOutput)],
  });
}

/** Copies the features of each image, at its least blank step, to `out`. */
function takeFeatures(
  model: OnnxModel,
  { values, shape }: OutputTensor,
  blanks: OutputTensor | undefined,
  { count, width, out }: { readonly count: number; readonly width: number; readonly out: Float32Array },
): void {
  const steps = values.length / (count * width);
  const isExpected = blanks ? shape.length === 3 && Number.isInteger(steps) : steps === 1;
  if (!isExpected) {
    throw invalid(
      model.path,
      `expected features of ${count} x ${width}, got [${shape.join(', ')}]: ` +
        (steps > 1
          ? 'the model predicts for several places of an image; of such models only sequence recognisers with a blank ' +
            'are read (--blank INDEX)'
          : 'name the value that holds them with --features'),
    );
  }
  for (let image = 0; image < count; image++) {
    let best = 0;
    for (let step = 1; blanks && step < steps; step++) {
      if (blanks.values[image * steps + step] < blanks.values[image * steps + best]) best = step;
    }
    const from = (image * steps + best) * width;
    out.set(values.subarray(from, from + width), image * width);
  }
  if (!out.every(Number.isFinite))
    throw invalid(model.path, 'its features are not all finite for these images');
}

import { createHash } from 'node:crypto';
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
import { hashFile } from '../../core/file-hashes.js';
import { schemaProblem } from '../../core/schema-problem.js';
import { type Backbone, createBackbone } from '../backbone.js';
import type { ImageBatch } from '../classifier.js';
import { storedFeatures } from '../stored-features.js';
import { wholeModel } from './constants.js';
import { readExportedMetadata } from './exported-metadata.js';
import { type ImageFeed, type ImageSession, openImageSession, type SessionPart } from './image-session.js';
import { beforeShapes, fusedOutputKey, invalid, type OnnxModel, readOnnxModel } from './model-file.js';
import { inputSchema, type Reading, readingSchema } from './reading.js';

const count = z.int().positive();

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
  input: inputSchema,
  reading: readingSchema,
});

export type OnnxBackboneDescription = z.infer<typeof onnxBackboneSchema>;

/** The output that holds the features of a model in half precision, in the graph that runs: read as an export reads them. */
const featuresOutput = 'kd_spec_features';
/** The output that holds the blank of each step, in the graph that runs. */
const blankOutput = 'kd_spec_blank';

/**
 * Opens the backbone of an imported generalist.
 *
 * @param directory the generalist's artefact folder, in which the model lies
 * @param description from `config.json`
 * @param store a folder in which features are kept, so that none is computed twice; none: they are not
 * @throws KdSpecError `checkpoint-invalid`
 */
export async function loadOnnxBackbone(
  directory: string,
  description: unknown,
  store?: string,
): Promise<Backbone> {
  const { model, backbone } = await readImportedModel(directory, description);
  const opened = await openOnnxBackbone(model, backbone);
  if (store === undefined) return opened;
  try {
    const parts = [await hashFile(model.path), JSON.stringify(backbone)];
    const name = createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 16);
    return await storedFeatures(opened, join(store, `${name}.features`));
  } catch (error) {
    opened.dispose();
    throw error;
  }
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
      `${join(directory, 'config.json')}: backbone: ${schemaProblem(description, parsed.error)}; import the model again`,
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
 * @throws KdSpecError `checkpoint-invalid`, also for one that takes several images and has its steps before them: its
 * features would be those of other images
 */
export async function openOnnxBackbone(
  model: OnnxModel,
  description: OnnxBackboneDescription,
): Promise<Backbone> {
  const { under, dispose } = await openOnnxReadings(model, description);
  return under(description.reading, dispose);
}

/**
 * The same, opened once for several readings of its images.
 *
 * @returns `under`: the backbone under a reading, with what its own `dispose` does, by default nothing
 */
export async function openOnnxReadings(
  model: OnnxModel,
  { features: name, width, output, blank, input, reading: own }: OnnxBackboneDescription,
): Promise<{ under(reading: Reading, dispose?: () => void): Backbone; dispose(): void }> {
  const feed = { name: input.name, form: input, reading: own, batch: input.batch ?? undefined };
  const session = await openImageSession(
    await wholeModel(model, cutGraph(model, name, output, blank)),
    feed,
    { path: model.path },
  );
  const outputs = blank !== null ? [name, blankOutput] : isRounded(model) ? [featuresOutput] : [name];
  const earlier = earlierPatches(model, feed);
  const pixels = input.image.height * input.image.width * input.image.channels;
  let areStepsFirst: boolean | undefined;
  /** Of one image: where as many images run as there are steps, the shape would not tell. */
  const findSteps = async (images: Float32Array): Promise<boolean> => {
    let found = false;
    await session.run({ images: images.subarray(0, pixels), count: 1 }, outputs, ({ results, ran }) => {
      const [first, second] = results.get(name)?.shape ?? [];
      found = first !== ran && second === ran;
    });
    return found;
  };
  const under = (reading: Reading, dispose = () => {}) =>
    createBackbone({
      name: model.path,
      width,
      input: { kind: 'images', image: input.image },
      async features(batch, out) {
        if (blank !== null) areStepsFirst ??= await findSteps(batch.images);
        let isMixed = false;
        const take = (part: SessionPart) => {
          if (areStepsFirst === true && part.ran > 1) isMixed = true;
          else takeFeatures(model, part, outputs, { width, out });
        };
        await session.run(batch, outputs, take, reading);
        if (!isMixed) return;
        throw invalid(
          model.path,
          'it takes several images and has its steps before them (steps, batch, classes): export it with the batch ' +
            'first, or for one image at a time',
        );
      },
      fusedBefore: earlier?.predict,
      dispose,
    });
  return {
    under,
    dispose() {
      session.dispose();
      earlier?.dispose();
    },
  };
}

/** What a file that was patched before predicts with its specialists, (batch, classes); it is opened when it is wanted. */
function earlierPatches(model: OnnxModel, feed: ImageFeed) {
  const fused = model.metadata.get(fusedOutputKey);
  if (fused === undefined || readExportedMetadata(model) === undefined) return undefined;
  let opened: Promise<ImageSession> | undefined;
  return {
    async predict(batch: ImageBatch): Promise<Float32Array> {
      opened ??= wholeModel(model).then((bytes) => openImageSession(bytes, feed, { path: model.path }));
      const session = await opened;
      let all = new Float32Array();
      await session.run(batch, [fused], ({ results, first, count, ran }) => {
        const values = results.get(fused)?.values ?? new Float32Array();
        const classes = values.length / ran;
        if (all.length === 0) all = new Float32Array(batch.count * classes);
        all.set(values.subarray(0, count * classes), first * classes);
      });
      return all;
    },
    dispose() {
      void opened?.then(
        (session) => session.dispose(),
        () => {},
      );
    },
  };
}

/** Whether some of a model is in less than single precision, so that where it is rounded depends on what is read of it. */
const isRounded = ({ graph }: OnnxModel): boolean =>
  graph.initializer.some(
    ({ dataType }) => dataType === TensorProto_DataType.FLOAT16 || dataType === TensorProto_DataType.BFLOAT16,
  );

/** The graph with the features as its output instead of its own: the runtime leaves out what they do not need. */
function cutGraph(model: OnnxModel, features: string, output: string, blank: number | null): GraphProto {
  const { graph } = model;
  const named = (name: string) => create(ValueInfoProtoSchema, { name });
  const node = (
    opType: string,
    input: string[],
    output: string,
    [attribute, value]: readonly [string, number],
  ) =>
    create(NodeProtoSchema, {
      opType,
      name: output,
      input,
      output: [output],
      attribute: [
        create(AttributeProtoSchema, {
          name: attribute,
          type: AttributeProto_AttributeType.INT,
          i: BigInt(value),
        }),
      ],
    });
  if (blank === null) {
    if (!isRounded(model)) return create(GraphProtoSchema, { ...graph, output: [named(features)] });
    const from = beforeShapes(model, features);
    const cast = node('Cast', [from], featuresOutput, ['to', TensorProto_DataType.FLOAT]);
    return create(GraphProtoSchema, {
      ...graph,
      node: [...graph.node, cast],
      output: [named(featuresOutput)],
    });
  }
  const index = create(TensorProtoSchema, {
    name: `${blankOutput}_index`,
    dataType: TensorProto_DataType.INT64,
    int64Data: [BigInt(blank)],
  });
  return create(GraphProtoSchema, {
    ...graph,
    node: [...graph.node, node('Gather', [output, index.name], blankOutput, ['axis', 2])],
    initializer: [...graph.initializer, index],
    output: [named(features), named(blankOutput)],
  });
}

/** Copies the features of each image, at its least blank step, to `out`. */
function takeFeatures(
  model: OnnxModel,
  { results, first, count, ran }: SessionPart,
  [name, blankName]: readonly string[],
  { width, out }: { readonly width: number; readonly out: Float32Array },
): void {
  const features = results.get(name);
  assert(features !== undefined, 'the session returns what was named');
  const { values, shape } = features;
  const blanks = blankName === undefined ? undefined : results.get(blankName);
  const steps = values.length / (ran * width);
  // Of one image the steps are in their order, with the batch before them, behind them, or folded into them.
  const isOrdered = shape.length === 3 || ran === 1;
  const isExpected = blanks ? isOrdered && blanks.values.length === ran * steps : steps === 1;
  if (!isExpected) {
    throw invalid(
      model.path,
      `expected features of ${ran} x ${width}, got [${shape.join(', ')}]: ` +
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
    out.set(values.subarray(from, from + width), (first + image) * width);
  }
  if (!out.subarray(first * width, (first + count) * width).every(Number.isFinite))
    throw invalid(model.path, 'its features are not all finite for these images');
}

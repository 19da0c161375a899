import { createClassifier, type ImageBatch, rowOf } from '../../models/classifier.js';
import { findClassNames } from '../../models/onnx/class-names.js';
import { expectDataInFolder, wholeModel } from '../../models/onnx/constants.js';
import { type ExportedMetadata, readExportedMetadata } from '../../models/onnx/exported-metadata.js';
import { findImageInput, possibleReadings } from '../../models/onnx/image-input.js';
import { openImageSession, type SessionPart } from '../../models/onnx/image-session.js';
import {
  decodeOnnxModel,
  fusedOutputKey,
  invalid,
  isLarge,
  type OnnxModel,
} from '../../models/onnx/model-file.js';
import type { RuntimeName } from '../../models/onnx/runtime.js';
import { classifyFiles, type Ensemble } from '../ensemble.js';
import type { ImageTrace, SpecialistTrace } from '../inference.js';
import { massOn } from '../query.js';

/** A file that was exported, open. */
export interface ExportedEnsemble extends Ensemble {
  readonly metadata: ExportedMetadata;
}

/**
 * Opens a file that kd-spec exported as an ensemble, by what its metadata say.
 *
 * @param bytes of the file; a model over 2 GB has its weights beside it, and only the native ONNX Runtime runs it
 * @param options.path of the file, for messages and external data
 * @throws KdSpecError `checkpoint-invalid` for any other model, or when ONNX Runtime refuses it
 *
 * Cost: the file is decoded once, and held by the runtime.
 */
export async function openExportedEnsemble(
  bytes: Uint8Array,
  {
    path,
    name = path,
    runtime,
  }: {
    readonly path: string;
    readonly name?: string | undefined;
    readonly runtime?: RuntimeName | undefined;
  },
): Promise<ExportedEnsemble> {
  const model = decodeOnnxModel(path, bytes, { anySize: true });
  const metadata = readExportedMetadata(model);
  const fused = model.metadata.get(fusedOutputKey);
  if (metadata === undefined || fused === undefined) {
    throw invalid(
      path,
      'expected an ensemble that kd-spec exported: make one of this model with kd-spec patch, or use it as a generalist ' +
        '(--onnx) or a teacher (--teacher)',
    );
  }
  const input = await findImageInput(model);
  const [reading] = possibleReadings(input);
  const classes = await classNamesOf(model);
  const whole = await runnable(model, bytes);
  const feed = { name: input.name, form: input, reading, batch: input.batch };
  const session = await openImageSession(whole, feed, { path, runtime });
  const width = classes.length;

  /** Copies an output of (batch, classes) to `out`. */
  const take = ({ results, first, count, ran }: SessionPart, output: string, out: Float32Array) => {
    const found = results.get(output);
    if (found?.shape.join() !== `${ran},${width}`)
      throw invalid(path, `expected "${output}" of [${ran}, ${width}], got [${found?.shape.join(', ')}]`);
    const values = found.values.subarray(0, count * width);
    if (!values.every(Number.isFinite)) throw invalid(path, 'its output is not finite for these images');
    out.set(values, first * width);
  };
  const classifier = createClassifier({
    name,
    classes,
    input: { kind: 'images', image: input.image },
    probabilities: (batch, out) => session.run(batch, [fused], (part) => take(part, fused, out)),
    dispose: () => session.dispose(),
  });
  const specialists = metadata.traces.flatMap((trace) => trace.specialists.map((config) => ({ config })));
  const trace = async (batch: ImageBatch, { out }: { readonly out?: Float32Array | undefined } = {}) => {
    const ensemble = classifier.roomFor(batch, out);
    const generalist = new Float32Array(batch.count * width);
    const traced = Array.from({ length: batch.count }, (): SpecialistTrace[] => []);
    const outputs = [
      fused,
      metadata.generalist,
      ...metadata.traces.flatMap(({ ids, probabilities }) => [ids, probabilities]),
    ];
    await session.run(batch, outputs, (part) => {
      take(part, fused, ensemble);
      take(part, metadata.generalist, generalist);
      for (let row = 0; row < part.count; row++) {
        const image = part.first + row;
        const rows = [generalist, ensemble].map((values) => rowOf(values, image, width));
        traced[image].push(...tracesOf(path, metadata, part, row, rows));
      }
    });
    return traced.map(
      (queried, image): ImageTrace => ({
        generalist: rowOf(generalist, image, width),
        ensemble: rowOf(ensemble, image, width),
        specialists: queried,
      }),
    );
  };
  return {
    ...classifier,
    metadata,
    specialists,
    specialistCount: metadata.specialists,
    generalistTemperature: metadata.generalistTemperature,
    labelNoise: metadata.labelNoise,
    trace,
    classify: (files, { top = 5 } = {}) => classifyFiles({ ...classifier, specialists, trace }, files, top),
  };
}

/** What the queried specialists of one image predicted, of all patches. */
function tracesOf(
  path: string,
  { traces }: ExportedMetadata,
  { results }: SessionPart,
  row: number,
  [generalist, ensemble]: readonly Float32Array[],
): readonly SpecialistTrace[] {
  const found: SpecialistTrace[] = [];
  let start = 0;
  for (const { ids, probabilities, specialists } of traces) {
    const [queried, predicted] = [results.get(ids), results.get(probabilities)];
    const [slots, outcomes] = predicted?.shape.slice(1) ?? [];
    if (queried === undefined || predicted === undefined || queried.shape[1] !== slots)
      throw invalid(
        path,
        `its outputs "${ids}" and "${probabilities}" do not belong together: export it again`,
      );
    for (let slot = 0; slot < slots; slot++) {
      const own = queried.values[row * slots + slot];
      if (own >= specialists.length) continue; // none
      const { classes, correction } = specialists[own];
      const from = (row * slots + slot) * outcomes;
      const all = Float64Array.from(predicted.values.subarray(from, from + outcomes));
      const outcome = new Float64Array(classes.length + 1);
      outcome.set(all.subarray(0, classes.length));
      outcome[classes.length] = all[outcomes - 1];
      found.push({
        position: start + own,
        isActive: true,
        probabilities: outcome,
        correction,
        mass: { generalist: massOn(generalist, classes), ensemble: massOn(ensemble, classes) },
      });
    }
    start += specialists.length;
  }
  return found;
}

/** The names that were written beside the fused output. */
async function classNamesOf(model: OnnxModel): Promise<readonly string[]> {
  const output = model.graph.output.find(({ name }) => name === model.metadata.get(fusedOutputKey));
  const type = output?.type?.value;
  const extent = type?.case === 'tensorType' ? type.value.shape?.dim.at(-1)?.value : undefined;
  const width = extent?.case === 'dimValue' ? Number(extent.value) : 0;
  return (await findClassNames(model, width, { isSequence: false })).names;
}

/** A model as a session is opened with it: in one piece, or where it is too large for that by its path. */
async function runnable(model: OnnxModel, bytes: Uint8Array): Promise<Uint8Array | string> {
  if (!hasExternalData(model)) return bytes;
  if (!isLarge(model.graph)) return wholeModel(model);
  expectDataInFolder(model);
  return model.path;
}

function hasExternalData({ graph }: OnnxModel): boolean {
  return graph.initializer.some(({ externalData }) => externalData.length > 0);
}

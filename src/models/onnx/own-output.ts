import { create } from '@bufbuild/protobuf';
import { GraphProtoSchema, ValueInfoProtoSchema } from 'onnx-buf';
import { createMean } from '../../math/mean.js';
import { softmax } from '../../math/softmax.js';
import type { Backbone, DenseHead } from '../backbone.js';
import { rowOf } from '../classifier.js';
import { wholeModel } from './constants.js';
import type { OnnxHead } from './find-head.js';
import { openImageSession, type SessionPart } from './image-session.js';
import { roundsToCodes } from './integer-products.js';
import { invalid, type OnnxModel, type OutputHolds } from './model-file.js';
import type { OnnxBackboneDescription } from './onnx-backbone.js';
import type { CheckImages } from './self-check.js';

const comparedImages = 8;
/** Of a probability, the largest of an image: weights of 8 bits change it by a few hundredths. */
const mostDifference = 0.2;
const leastMass = 0.01; // of all but a blank

/**
 * Compares what a model predicts with what its head makes of its features: that the walk back from the output understood
 * all that lies between the two.
 *
 * @param dense the head, without a blank
 * @param backbone under the reading in use
 * @throws KdSpecError `checkpoint-invalid` where the two differ
 *
 * Cost: opening the whole model once, and a pass for 8 images.
 */
export async function expectOwnOutput(
  model: OnnxModel,
  { output, outputHolds, path }: OnnxHead,
  { input, reading, blank }: OnnxBackboneDescription,
  { dense, backbone }: { readonly dense: DenseHead; readonly backbone: Backbone },
  { images, count }: Pick<CheckImages, 'images' | 'count'>,
): Promise<void> {
  if (path.some(roundsToCodes)) return; // which cut off what is large
  const some = Math.min(count, comparedImages);
  const batch = { images: images.subarray(0, (some * images.length) / count), count: some };
  const graph = create(GraphProtoSchema, {
    ...model.graph,
    output: [create(ValueInfoProtoSchema, { name: output })],
  });
  const feed = { name: input.name, form: input, reading, batch: input.batch ?? undefined };
  const session = await openImageSession(await wholeModel(model, graph), feed, { path: model.path });
  const outputs = dense.classes + (blank === null ? 0 : 1);
  const own: Float64Array[] = [];
  try {
    await session.run(batch, [output], (part) => own.push(...rowsOf(part, { output, outputs, blank })));
  } finally {
    session.dispose();
  }
  const logits = await dense.logits(await backbone.features(batch), some);
  const difference = createMean();
  for (const [image, row] of own.entries()) {
    const found = ownProbabilities(row, outputHolds, blank);
    if (found === undefined) continue;
    const ofHead = rowOf(logits, image, dense.classes);
    const expected = outputHolds === 'scores' ? Float64Array.from(ofHead, sigmoid) : softmax(ofHead);
    difference.add(found.reduce((most, p, c) => Math.max(most, Math.abs(p - expected[c])), 0));
  }
  const { mean } = difference.estimate();
  if (difference.examples === 0 || mean <= mostDifference) return;
  throw invalid(
    model.path,
    `its output "${output}" is not what its last layer makes of its features: probabilities differ by up to ` +
      `${mean.toFixed(2)} (mean over ${difference.examples} images), so that more lies between the two than ` +
      `${path.join(', ')} tell. Name the value that holds the logits of all classes with --logits`,
  );
}

const sigmoid = (value: number) => 1 / (1 + Math.exp(-value));

/** (outputs) of each image of interest; of a recogniser of several steps, at its least blank one. */
function rowsOf(
  { results, count, ran }: SessionPart,
  {
    output,
    outputs,
    blank,
  }: { readonly output: string; readonly outputs: number; readonly blank: number | null },
): readonly Float64Array[] {
  const values = results.get(output)?.values ?? new Float32Array();
  const steps = values.length / (ran * outputs);
  return Array.from({ length: count }, (_, image) => {
    let best = image * steps;
    for (let row = best + 1; blank !== null && row < (image + 1) * steps; row++)
      if (values[row * outputs + blank] < values[best * outputs + blank]) best = row;
    return Float64Array.from(values.subarray(best * outputs, (best + 1) * outputs));
  });
}

/**
 * What an output says of each class; without a blank that is left out, as if it could not be.
 *
 * @returns undefined where almost all is the blank's, and the rest is rounding
 */
function ownProbabilities(
  row: Float64Array,
  holds: OutputHolds,
  blank: number | null,
): Float64Array | undefined {
  const values = blank === null ? row : row.filter((_, c) => c !== blank);
  if (holds === 'logits') return softmax(values);
  const probabilities = holds === 'log-probabilities' ? values.map(Math.exp) : values;
  if (blank === null || holds === 'scores') return probabilities;
  const total = probabilities.reduce((sum, p) => sum + p, 0);
  return total < leastMass ? undefined : probabilities.map((p) => p / total);
}

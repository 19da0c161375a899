import type { ModelProto } from 'onnx-buf';
import { KdSpecError } from '../../core/errors.js';
import type { FeatureScale } from '../feature-scale.js';
import { withData } from './constants.js';
import type { OnnxHead } from './find-head.js';
import { createGraphWriter, type GraphWriter, renameValue } from './graph-writer.js';
import { beforeShapes, type OnnxModel } from './model-file.js';
import { expectReplaceable, freshPrefix, headType, openCopy, placeBehind } from './replace-head.js';
import { upgradedOpset, upgradeOperators, upgradeProblem } from './upgrade-operators.js';

/** Stored features whose nearest ones rank the first classes of a classifier again. */
export interface NeighbourHead {
  /** (width, rows), standardised features of length 1. */
  readonly units: Float32Array;
  /** (rows), the class of each. */
  readonly labels: Int32Array;
  /** Of the features of an image, which are standardised before they are compared. */
  readonly scale: FeatureScale;
  /** (classes), 1 where a class has images. */
  readonly isPictured: Uint8Array;
  /** How many of the nearest vote. */
  readonly neighbours: number;
  /** Of the votes in the mixture, in [0, 1]. */
  readonly share: number;
  /** What the classes with images are raised by among the first ones, in nats. */
  readonly shift: number;
  /** How many classes are ranked again. */
  readonly first: number;
  /** Of a vote, in nats for a cosine of 1. */
  readonly sharpness: number;
  /** A class that is not ranked, and stays as it is: the blank of a sequence recogniser. */
  readonly blank: number | null;
}

const leastProbability = 1e-37; // which has a logarithm in single precision
const leastLength = 1e-30; // of features: what is all 0 is near to everything

/**
 * Writes neighbours into a foreign classifier: the graph stays as it is up to its logits, and behind them those of the
 * first classes become
 *
 *     z'_c = log sum exp(z) over the first classes + log q_c,   q = (1 - share) p + share v, the classes with images raised
 *
 * with p the model's probabilities and v the votes, each with sum 1 over the first classes, and q brought to sum 1. So
 * the logits of all other classes, and their probabilities, are the model's own, and a softmax behind the logits has a
 * sum of 1 as before. Where none of the nearest is of the first classes, p stands for v. Of a model with steps, every
 * step is ranked again.
 *
 * @param head where the logits are: see `findHead`
 * @returns the model, its external data inside, and the name that the model's own logits have in it
 * @throws KdSpecError `option-invalid` for logits in another shape or type than the product of the last layer, and for an
 * old operator set that cannot be converted
 *
 * Cost: a product with all stored features, which the file holds in float32, for each image or step.
 */
export async function withNeighbours(
  given: OnnxModel,
  head: OnnxHead,
  stored: NeighbourHead,
): Promise<{ readonly proto: ModelProto; readonly before: string }> {
  const problem = upgradeProblem(given);
  if (problem !== undefined) {
    throw new KdSpecError(
      'option-invalid',
      `the model is of operator set ${given.opset}, neighbours need ${upgradedOpset}, and kd-spec cannot convert it ` +
        `(${problem}): convert it (onnx.version_converter.convert_version(model, 17) in Python) and import it again`,
    );
  }
  expectReplaceable(head);
  const model = upgradeOperators(given);
  const { logits, features, width, classes, product } = head;
  const type = headType(model, product);
  const graph = openCopy(model);
  const prefix = freshPrefix(graph);
  const writer = createGraphWriter(graph, model.opset, { prefix });
  const before = `${prefix}before`;
  renameValue(graph, logits, before);
  const single = (x: string) => (type === 'float32' ? x : writer.castTo(x, 'float32'));
  const own = writer.reshape(before, [-1, classes]);
  const { blank } = stored;
  let scores = single(own);
  if (blank !== null) {
    const without = Float32Array.from({ length: classes }, (_, label) => (label === blank ? -1e30 : 0));
    scores = writer.add(scores, writer.floats(without, [classes]));
  }
  const most = Math.min(stored.first, blank === null ? classes : classes - 1);
  const [values, first] = topK(writer, scores, most);
  const largest = writer.slice(values, 1, 0, 1);
  const powers = writer.node('Exp', [writer.sub(values, largest)]);
  const mass = writer.sum(powers, 1);
  const taken = type === 'float32' ? features : writer.castTo(beforeShapes(model, features), 'float32');
  const mixed = writeMixture(writer, stored, {
    features: writer.reshape(taken, [-1, width]),
    width,
    first,
    most,
    probabilities: writer.div(powers, mass),
  });
  const logProbabilities = writer.node('Log', [writer.node('Max', [mixed, writer.scalar(leastProbability)])]);
  const ranked = writer.add(logProbabilities, writer.add(largest, writer.node('Log', [mass])));
  const updates = type === 'float32' ? ranked : writer.castTo(ranked, type);
  const made = writer.node('ScatterElements', [own, first, updates], { axis: 1 });
  writer.name(writer.node('Reshape', [made, writer.node('Shape', [before])]), logits);
  placeBehind(graph, before, graph.node.slice(model.graph.node.length));
  return { proto: await withData(model, graph), before };
}

/**
 * The probabilities of the first classes among themselves, ranked again.
 *
 * @param first (rows, most), class indices
 * @param probabilities (rows, most), with sum 1
 * @returns (rows, most), with sum 1
 */
function writeMixture(
  writer: GraphWriter,
  { units, labels, scale, isPictured, neighbours, share, shift, sharpness }: NeighbourHead,
  {
    features,
    width,
    first,
    most,
    probabilities,
  }: {
    readonly features: string;
    readonly width: number;
    readonly first: string;
    readonly most: number;
    readonly probabilities: string;
  },
): string {
  const vector = (values: Float32Array) => writer.floats(values, [values.length]);
  const standardised = writer.div(writer.sub(features, vector(scale.mean)), vector(scale.deviation));
  const square = writer.sum(writer.mul(standardised, standardised), 1);
  const length = writer.node('Max', [writer.node('Sqrt', [square]), writer.scalar(leastLength)]);
  const rows = labels.length;
  const products = writer.node('MatMul', [standardised, writer.floats(units, [width, rows])]);
  const voters = Math.min(neighbours, rows);
  const [nearness, nearest] = topK(writer, products, voters);
  const behind = writer.div(writer.sub(nearness, writer.slice(nearness, 1, 0, 1)), length);
  const ofEach = writer.node('Exp', [writer.mul(behind, writer.scalar(sharpness))]); // (images, voters)
  const classOf = writer.gather(writer.integers(labels, [rows]), nearest, 0);
  const isOf = writer.node('Equal', [
    writer.reshape(first, [-1, most, 1]),
    writer.reshape(classOf, [-1, 1, voters]),
  ]);
  const sums = writer.node('MatMul', [
    writer.castTo(isOf, 'float32'),
    writer.reshape(ofEach, [-1, voters, 1]),
  ]);
  const votes = writer.reshape(sums, [-1, most]);
  const all = writer.sum(votes, 1);
  const isAny = writer.castTo(writer.node('Greater', [all, writer.scalar(0)]), 'float32');
  const weight = writer.mul(isAny, writer.scalar(share)); // (images, 1)
  const voted = writer.div(votes, writer.node('Max', [all, writer.scalar(leastLength)]));
  const mixed = writer.add(
    writer.mul(writer.sub(writer.scalar(1), weight), probabilities),
    writer.mul(weight, voted),
  );
  if (shift === 0) return mixed;
  const factors = Float32Array.from(isPictured, (one) => Math.exp(shift * one));
  const raised = writer.mul(mixed, writer.gather(vector(factors), first, 0));
  return writer.div(raised, writer.sum(raised, 1));
}

/** The largest numbers of each row, descending, and where they stand. */
function topK(writer: GraphWriter, x: string, count: number): readonly [string, string] {
  const [values, indices] = writer.nodes('TopK', [x, writer.integers([count], [1])], 2, { axis: 1 });
  return [values, indices];
}

import type { Tensor2D, Variable } from '../../compute/operations.js';
import { createRandom, derivedSeed } from '../../core/random.js';
import {
  type FeatureSet,
  type FitCost,
  fitHead,
  type Head,
  type HeadContext,
  type TrainedHead,
} from './fit-head.js';

const flopsOf = (inputs: number, units: number) => 2 * inputs * units;

/** What is trained: numbers of the head as it is, the head itself, or a layer beside or before it. */
export type HeadKind = 'bias' | 'refitted' | 'hidden' | 'adapter';

export const hiddenUnits = 64;
export const adapterRank = 16;
// On standardised features. A bias moves its logit by as much as itself, a weight by as many times as there are features.
const rates: Readonly<Record<HeadKind, number>> = { bias: 0.03, refitted: 1e-3, hidden: 1e-3, adapter: 3e-3 };

const rankOf = ({ width }: Pick<Head, 'width'>) => Math.min(adapterRank, width);

/** What a prediction with a head of a kind costs, and how many numbers are fitted. */
export function headCost(kind: HeadKind, { width, classes }: Pick<Head, 'width' | 'classes'>) {
  const own = flopsOf(width, classes);
  switch (kind) {
    case 'bias':
      return { flops: own, parameters: classes };
    case 'refitted':
      return { flops: own, parameters: (width + 1) * classes };
    case 'hidden':
      return {
        flops: own + flopsOf(width, hiddenUnits) + flopsOf(hiddenUnits, classes),
        parameters: (width + 1 + hiddenUnits) * classes + (width + 1) * hiddenUnits,
      };
    case 'adapter':
      return {
        flops: own + 2 * flopsOf(width, rankOf({ width })),
        parameters: 2 * width * rankOf({ width }),
      };
  }
}

type LastLayer = Pick<Head, 'weights' | 'bias' | 'hidden'>;

interface BuiltHead extends TrainedHead {
  /** The same as one dense layer, on the features and on hidden units where there are some. */
  dense(): Promise<LastLayer>;
  dispose(): void;
}

function buildHead(kind: HeadKind, { operations, head, seed }: HeadContext): BuiltHead {
  const { width, classes } = head;
  const random = createRandom(derivedSeed(seed), 'rivals', kind);
  const normal = (inputs: number, units: number, gain: number) =>
    operations.variable(
      Float32Array.from({ length: inputs * units }, () => Math.sqrt(gain / inputs) * random.normal()),
      [inputs, units] as const,
    );
  const zeros = (inputs: number, units: number) =>
    operations.variable(new Float32Array(inputs * units), [inputs, units] as const);
  const bias = operations.variable(head.bias, [classes] as const);
  const weights = operations.variable(head.weights, [width, classes] as const);
  const all: Variable[] = [weights, bias];
  const made = (
    trained: readonly Variable[],
    logits: (features: Tensor2D) => Tensor2D,
    layer: () => Promise<LastLayer>,
  ): BuiltHead => ({
    variables: trained,
    rate: rates[kind],
    logits,
    flops: headCost(kind, head).flops,
    dense: layer,
    dispose: () => operations.dispose([...all]),
  });
  const dense = (features: Tensor2D) =>
    operations.dense(features, weights, bias, {
      inputGradient: kind === 'adapter',
      weightsGradient: kind === 'refitted' || kind === 'hidden',
    });
  const asDense = async (values: Tensor2D) => ({
    weights: await operations.read(values),
    bias: await operations.read(bias),
  });
  switch (kind) {
    case 'bias':
      return made([bias], dense, () => asDense(weights));
    case 'refitted':
      return made([weights, bias], dense, () => asDense(weights));
    case 'hidden': {
      const [into, offset, out] = [
        normal(width, hiddenUnits, 2),
        operations.variable(new Float32Array(hiddenUnits), [hiddenUnits] as const),
        zeros(hiddenUnits, classes),
      ];
      all.push(into, offset, out);
      return made(
        [weights, bias, into, offset, out],
        (features) => {
          const hidden = operations.relu(operations.dense(features, into, offset, { inputGradient: false }));
          return operations.add(dense(features), operations.dense(hidden, out, undefined));
        },
        async () => {
          const [own, beside] = [await asDense(weights), await operations.read(out)];
          const hidden = { weights: await operations.read(into), bias: await operations.read(offset) };
          return { ...own, weights: joined(own.weights, beside), hidden };
        },
      );
    }
    case 'adapter': {
      const [down, up] = [normal(width, rankOf(head), 1), zeros(rankOf(head), width)];
      all.push(down, up);
      return made(
        [down, up],
        (features) => {
          const low = operations.dense(features, down, undefined, { inputGradient: false });
          return dense(operations.add(features, operations.dense(low, up, undefined)));
        },
        async () => {
          const whole = operations.tidy(() =>
            operations.add(weights, operations.matMul(down, operations.matMul(up, weights))),
          );
          try {
            return await asDense(whole);
          } finally {
            whole.dispose();
          }
        },
      );
    }
  }
}

/** A head that was trained, until it is disposed of. */
export interface FittedHead {
  readonly model: BuiltHead;
  /** The classes of the model's logits, ascending. An adapter, which moves the logits of all classes, has all. */
  readonly scored: Int32Array;
  readonly fit: FitCost;
}

/**
 * Trains a head over the classes in play: see `classesInPlay`. All others keep the weights of the generalist's.
 *
 * @throws KdSpecError `interrupted`
 */
export async function trainHead(kind: HeadKind, context: HeadContext): Promise<FittedHead> {
  const { operations, head, train, validation, inPlay } = context;
  const places = new Int32Array(head.classes);
  for (const [place, label] of inPlay.entries()) places[label] = place;
  const relabelled = (set: FeatureSet) => ({ ...set, labels: set.labels.map((label) => places[label]) });
  const few: HeadContext = {
    ...context,
    head: columnsOf(head, inPlay),
    train: relabelled(train),
    validation: relabelled(validation),
  };
  const model = buildHead(kind, few);
  try {
    const fit = await fitHead(model, few);
    if (kind !== 'adapter') return { model, scored: inPlay, fit };
    const values = await Promise.all(model.variables.map((variable) => operations.read(variable)));
    const whole = buildHead(kind, context);
    for (const [index, variable] of whole.variables.entries()) operations.assign(variable, values[index]);
    model.dispose();
    return { model: whole, scored: Int32Array.from(head.bias.keys()), fit };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/**
 * The head refitted on the images and mixed with the original.
 *
 * @param share of the refitted head, in (0, 1]
 * @throws KdSpecError `interrupted`
 */
export async function refitHead(
  context: HeadContext,
  share: number,
): Promise<{ readonly head: Head; readonly fit: FitCost }> {
  const { model, scored, fit } = await trainHead('refitted', context);
  try {
    return { head: mixedHead(context.head, await model.dense(), scored, share), fit };
  } finally {
    model.dispose();
  }
}

/** `(1 - share) head + share trained` for the classes that were trained; the others stay as they are, without hidden units. */
export function mixedHead(
  head: Head,
  { weights, bias, hidden }: LastLayer,
  scored: Int32Array,
  share: number,
): Head {
  const mixed = (from: Float32Array, values: Float32Array) =>
    mix(from, withColumns(from, values, scored), share, new Float32Array(from.length));
  const none = new Float32Array((hidden?.bias.length ?? 0) * head.classes); // of hidden units
  return {
    ...head,
    weights: mixed(hidden ? joined(head.weights, none) : head.weights, weights),
    bias: mixed(head.bias, bias),
    ...(hidden && { hidden }),
  };
}

/** The rows of one matrix, then those of another. */
function joined(first: Float32Array, second: Float32Array): Float32Array {
  const all = new Float32Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}

/** The part of a head that makes the logits of some classes. */
function columnsOf({ weights, bias, width, classes }: Head, some: Int32Array): Head {
  const few = new Float32Array(width * some.length);
  for (let row = 0; row < width; row++)
    for (let place = 0; place < some.length; place++)
      few[row * some.length + place] = weights[row * classes + some[place]];
  return { weights: few, bias: Float32Array.from(some, (label) => bias[label]), width, classes: some.length };
}

/** A copy of weights (width, classes), or of a bias, with the columns of some classes in place of its own. */
function withColumns(whole: Float32Array, few: Float32Array, some: Int32Array): Float32Array {
  const copy = whole.slice();
  const rows = few.length / some.length;
  const classes = whole.length / rows;
  for (let row = 0; row < rows; row++)
    for (let place = 0; place < some.length; place++)
      copy[row * classes + some[place]] = few[row * some.length + place];
  return copy;
}

/** `(1 - share) from + share to`. */
function mix(from: Float32Array, to: Float32Array, share: number, out: Float32Array): Float32Array {
  for (let at = 0; at < out.length; at++) out[at] = (1 - share) * from[at] + share * to[at];
  return out;
}

import { assert } from '../../core/errors.js';
import type { Network } from '../../models/network.js';
import { hiddenFeatures } from '../../models/network-definition.js';
import type { HostTensor } from '../../models/safetensors.js';
import type { OptimizerKind } from '../optimizer-kind.js';

/**
 * The head of a network, class by class, in JavaScript's memory: a step of a sampled softmax reads and writes the rows
 * of its candidates alone, so that its cost does not grow with the number of classes.
 */
export interface HeadRows {
  readonly kind: OptimizerKind;
  readonly classes: number;
  /** Numbers a row: the weights of a class, then its bias. */
  readonly width: number;
  /** (classes, width). */
  readonly values: Float32Array;
  /** Each (classes, width). AdamW: first and second moment; SGD: velocity. */
  readonly moments: readonly Float32Array[];
  /** (classes), how often each row was updated. */
  readonly updates: Int32Array;
  /** (classes), the steps whose weight decay a row has had. */
  readonly decayed: Int32Array;
}

/** What an update depends on beside the gradient. */
export interface RowStep {
  /** 0 for the first. */
  readonly step: number;
  readonly learningRate: number;
  readonly weightDecay: number;
}

const beta1 = 0.9;
const beta2 = 0.999;
const epsilon = 1e-8;
const momentum = 0.9;

/** Rows without history, of zeros: `readHead` fills them. */
export function createHeadRows(kind: OptimizerKind, network: Network): HeadRows {
  const { outputs: classes } = network.definition;
  const width = hiddenFeatures(network.definition) + 1;
  const table = () => new Float32Array(classes * width);
  return {
    kind,
    classes,
    width,
    values: table(),
    moments: kind === 'adamw' ? [table(), table()] : [table()],
    updates: new Int32Array(classes),
    decayed: new Int32Array(classes),
  };
}

/** Copies the network's head, (hidden, classes) and (classes), into the rows. */
export function readHead(rows: HeadRows, weights: Float32Array, bias: Float32Array): void {
  const { classes, width, values } = rows;
  for (let row = 0; row < classes; row++) {
    for (let column = 0; column < width - 1; column++) {
      values[row * width + column] = weights[column * classes + row];
    }
    values[row * width + width - 1] = bias[row];
  }
}

/** The rows as the network has its head: weights (hidden, classes), bias (classes). */
export function headTensors(rows: HeadRows): { readonly weights: HostTensor; readonly bias: HostTensor } {
  const { classes, width } = rows;
  const all = gatherRows(
    rows,
    Int32Array.from({ length: classes }, (_, row) => row),
  );
  return {
    weights: { shape: [width - 1, classes], values: all.weights },
    bias: { shape: [classes], values: all.bias },
  };
}

/** Some rows as a dense layer takes them: weights (hidden, count), bias (count). */
export function gatherRows(
  { width, values }: HeadRows,
  which: Int32Array,
): { readonly weights: Float32Array; readonly bias: Float32Array } {
  const { length: count } = which;
  const weights = new Float32Array((width - 1) * count);
  const bias = new Float32Array(count);
  for (let index = 0; index < count; index++) {
    const start = which[index] * width;
    for (let column = 0; column < width - 1; column++) {
      weights[column * count + index] = values[start + column];
    }
    bias[index] = values[start + width - 1];
  }
  return { weights, bias };
}

/**
 * Gives rows the weight decay of the steps in which they were no candidates: the factor `(1 - learningRate
 * weightDecay)` for each, at the present learning rate.
 *
 * @param which all rows when left out
 * @param options.step steps that are accounted for afterwards
 */
export function decayRows(
  { classes, width, values, decayed }: HeadRows,
  { step, learningRate, weightDecay }: RowStep,
  which?: Int32Array,
): void {
  const count = which?.length ?? classes;
  for (let index = 0; index < count; index++) {
    const row = which ? which[index] : index;
    const factor = (1 - learningRate * weightDecay) ** (step - decayed[row]);
    decayed[row] = step;
    if (factor === 1) continue;
    for (let at = row * width; at < (row + 1) * width - 1; at++) values[at] *= factor;
  }
}

/**
 * Updates the rows of the candidates as AdamW or SGD with Nesterov momentum would, and no others.
 *
 * Adam's means run over the steps in which a row was a candidate, and so does its bias correction. With every row a
 * candidate at every step this is the dense optimiser.
 *
 * @param which (count), distinct
 * @param weights (hidden, count), the gradient
 * @param bias (count), the gradient
 */
export function updateRows(
  rows: HeadRows,
  which: Int32Array,
  gradient: { readonly weights: Float32Array; readonly bias: Float32Array },
  { step, learningRate, weightDecay }: RowStep,
): void {
  const { kind, width, values, updates, decayed } = rows;
  const { length: count } = which;
  const [first, second] = rows.moments;
  for (let index = 0; index < count; index++) {
    const row = which[index];
    const bias = row * width + width - 1;
    updates[row]++;
    decayed[row] = step + 1;
    const keep = 1 - learningRate * weightDecay;
    const stepSize = learningRate / (1 - beta1 ** updates[row]);
    const correction = 1 / Math.sqrt(1 - beta2 ** updates[row]);
    for (let at = row * width, from = index; at <= bias; at++, from += count) {
      const g = at === bias ? gradient.bias[index] : gradient.weights[from];
      const value = at === bias ? values[at] : keep * values[at]; // biases do not decay
      if (kind === 'adamw') {
        first[at] = beta1 * first[at] + (1 - beta1) * g;
        second[at] = beta2 * second[at] + (1 - beta2) * g * g;
        values[at] = value - (stepSize * first[at]) / (correction * Math.sqrt(second[at]) + epsilon);
      } else {
        first[at] = momentum * first[at] + g;
        values[at] = value - learningRate * (g + momentum * first[at]);
      }
    }
  }
}

const names = { updates: 'head.rows.updates', decayed: 'head.rows.decayed' } as const;
const momentName = (index: number) => `head.rows.moment${index}`;

/** What a checkpoint keeps of the rows beside the head itself. */
export function rowHistory({ classes, width, moments, updates, decayed }: HeadRows): Map<string, HostTensor> {
  const history = new Map<string, HostTensor>();
  moments.forEach((values, index) => {
    history.set(momentName(index), { shape: [classes, width], values: values.slice() });
  });
  history.set(names.updates, { shape: [classes], values: updates.slice() });
  history.set(names.decayed, { shape: [classes], values: decayed.slice() });
  return history;
}

/** Puts back what `rowHistory` returned. */
export function restoreRowHistory(rows: HeadRows, history: ReadonlyMap<string, HostTensor>): void {
  const put = (name: string, target: Float32Array | Int32Array) => {
    const found = history.get(name);
    assert(found?.values.length === target.length, `the optimiser's state has no "${name}"`);
    target.set(found.values);
  };
  rows.moments.forEach((values, index) => {
    put(momentName(index), values);
  });
  put(names.updates, rows.updates);
  put(names.decayed, rows.decayed);
}

import { assert } from '../core/errors.js';
import type { NetworkDefinition } from './network-definition.js';
import type { HostTensor } from './safetensors.js';

/** A layer on host arrays, its normalisation folded in: `y = weights' x + bias`. */
export interface FoldedLayer {
  /** (..., outputs), row-major. */
  readonly weights: Float32Array;
  /** (outputs) */
  readonly bias: Float32Array;
}

/** Tensors of a network by name, as its checkpoint has them. */
export type NetworkValues = ReadonlyMap<string, HostTensor>;

/** Added to a variance before its square root is taken, as in training. */
const epsilon = 0.001;

/**
 * The dense layers of a network and, last, its head, unless that copies logits.
 *
 * @param values holds the tensors of `networkTensors(definition)`
 */
export function foldedDenseLayers(
  definition: Pick<NetworkDefinition, 'dense' | 'copiesLogits'>,
  values: NetworkValues,
): FoldedLayer[] {
  const dense = definition.dense.map((_, index) => foldedLayer(values, `dense.${index}`));
  return definition.copiesLogits ? dense : [...dense, foldedHead(values)];
}

/** The head of a network, which has no normalisation. */
export function foldedHead(values: NetworkValues): FoldedLayer {
  return { weights: floatsOf(values, 'head.weights'), bias: floatsOf(values, 'head.bias') };
}

/**
 * A layer with its normalisation: `(w x - mean) / sqrt(variance + epsilon) * scale + bias` is one more linear layer.
 */
export function foldedLayer(values: NetworkValues, name: string): FoldedLayer {
  const weights = floatsOf(values, `${name}.weights`);
  const bias = floatsOf(values, `${name}.bias`);
  const scale = values.get(`${name}.scale`)?.values;
  if (scale === undefined) return { weights, bias };
  const mean = floatsOf(values, `${name}.mean`);
  const variance = floatsOf(values, `${name}.variance`);
  const outputs = bias.length;
  const factor = Float64Array.from(scale, (value, c) => value / Math.sqrt(variance[c] + epsilon));
  return {
    weights: weights.map((value, index) => value * factor[index % outputs]),
    bias: bias.map((value, c) => value - mean[c] * factor[c]),
  };
}

function floatsOf(values: NetworkValues, name: string): Float32Array {
  const tensor = values.get(name);
  assert(tensor?.values instanceof Float32Array, `the network has no tensor "${name}"`);
  return tensor.values;
}

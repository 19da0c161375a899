import { assert } from '../core/errors.js';
import type { Random } from '../core/random.js';
import { freshValues, type Network, networkFromTensors, networkValues } from './network.js';

/**
 * The same function by a network with more units in its dense layers.
 *
 * The units that are there keep their weights. Those added take in what a fresh network's would, and nothing downstream
 * uses them yet (their outgoing weights are 0), so that the outputs do not change until training moves them.
 *
 * @param dense units of each dense layer, as many layers as there are and none narrower
 * @returns a network of its own; `network` stays its caller's
 * Source: after Chen, Goodfellow and Shlens, Net2Net (2016), which splits units instead of adding silent ones.
 */
export async function widenDense(
  network: Network,
  dense: readonly number[],
  random: Random,
): Promise<Network> {
  const definition = { ...network.definition, dense: [...dense] };
  const values = freshValues(definition, random);
  for (const [name, { shape, values: old }] of await networkValues(network)) {
    const wide = values.get(name);
    assert(wide !== undefined, `a wider network has no tensor "${name}"`);
    const isMatrix = shape.length === 2; // of a dense layer, (inputs, units); filters and vectors only grow at their end
    const [inputs, units] = isMatrix ? shape : [1, old.length];
    const stride = isMatrix ? wide.shape[1] : wide.values.length;
    for (let input = 0; input < inputs; input++) {
      wide.values.set(old.subarray(input * units, (input + 1) * units), input * stride);
    }
    if (isMatrix) wide.values.fill(0, inputs * stride); // what comes from the units added below
  }
  return networkFromTensors(network.operations, definition, values);
}

import type { Random } from '../core/random.js';
import { createNetwork, type Network, networkFromTensors, networkValues } from './network.js';

/**
 * The same function by a network with more units in its dense layers.
 *
 * The units that are there keep their weights. Those added take in what a fresh network's would, and nothing downstream
 * listens to them yet (their outgoing weights are 0), so that the outputs do not change until training moves them.
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
  const fresh = createNetwork(definition, random);
  const values = await networkValues(fresh);
  fresh.dispose();
  for (const [name, { shape, values: old }] of await networkValues(network)) {
    const wide = values.get(name);
    if (!wide) throw new Error(`kd-spec defect: a wider network without "${name}"`);
    const [rows, columns] = shape.length === 2 ? shape : [1, old.length]; // filters and vectors: one row
    const stride = shape.length === 2 ? wide.shape[1] : wide.values.length;
    if (shape.length === 2) wide.values.fill(0, rows * stride); // from the units that the layer before gained
    for (let row = 0; row < rows; row++) {
      wide.values.set(old.subarray(row * columns, (row + 1) * columns), row * stride);
    }
  }
  return networkFromTensors(definition, values);
}

import type { Tensor } from '../compute/operations.js';
import { type Backbone, createBackbone, type DenseHead } from './backbone.js';
import type { Network } from './network.js';
import { convolutionalFeatures, hiddenFeatures, type NetworkPart } from './network-definition.js';
import { imageShapeOf, runInChunks, runNetwork } from './run-network.js';

/**
 * Cuts a network in two: the layers below a part, which stay as they are, and the dense layers from that part on.
 *
 * What stands on a foreign model has that model's graph in the backbone, and of its own layers those below the cut.
 *
 * @param network which the backbone owns; the head works until the backbone is disposed of
 * @param from the first part that belongs to the head
 * @param options.name for a person
 */
export function cutNetwork(
  network: Network,
  from: Exclude<NetworkPart, 'convolutions'>,
  { name = 'the generalist' }: { readonly name?: string } = {},
): { readonly backbone: Backbone; readonly head: DenseHead } {
  const { definition } = network;
  const width = from === 'dense' ? convolutionalFeatures(definition) : hiddenFeatures(definition);
  const below = from === 'dense' ? 'convolutions' : 'dense';
  const backbone = createBackbone({
    name,
    width,
    input: network.images,
    features: async (batch, out) =>
      runInChunks(network, await network.inputsOf(batch), out, {
        shape: imageShapeOf(network),
        count: batch.count,
        run: (input) => runNetwork(network, input, { to: below }),
      }),
    dispose: () => network.dispose(),
  });
  const head: DenseHead = {
    classes: definition.outputs,
    async logits(features, count) {
      const out = new Float32Array(count * definition.outputs); // (batch, classes)
      const run = (input: Tensor) => runNetwork(network, input, { from });
      await runInChunks(network, features, out, { shape: [width], count, run });
      return out;
    },
  };
  return { backbone, head };
}

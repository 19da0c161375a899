import type { Operations } from '../../src/compute/operations.js';
import type { Random } from '../../src/core/random.js';
import type { RoutedOutsiders } from '../../src/ensemble/specialist/dustbin.js';
import { createSpecialist, type Specialist } from '../../src/ensemble/specialist/specialist.js';
import { SpecialistNetworks } from '../../src/ensemble/specialist/specialist-networks.js';
import { createNetwork, type Network, networkValues } from '../../src/models/network.js';
import { scaleHead } from './operations.js';

/** Of the images that {@link dissentingSpecialists} answers: height, width and channels. */
const smallImage = [8, 8, 1] as const;

/** An untrained network over small images. */
export const smallNetwork = ({ dense, outputs }: { readonly dense: number; readonly outputs: number }) =>
  ({
    input: { height: smallImage[0], width: smallImage[1], channels: smallImage[2] },
    convolutions: [4],
    kernel: 3,
    dense: [dense],
    normalisation: 'batch',
    dropout: 0,
    outputs,
  }) as const;

/**
 * An untrained generalist, and a specialist for each subset whose head says something else than the generalist's.
 *
 * @param options.sureness what the generalist's head is multiplied by
 * @param options.dissent what a specialist's head is multiplied by after it was taken over from the generalist
 */
export async function dissentingSpecialists(
  operations: Operations,
  subsets: readonly (readonly number[])[],
  random: Random,
  options: {
    readonly outputs: number;
    readonly sureness: number;
    readonly dissent: number;
    readonly routed?: RoutedOutsiders;
  },
): Promise<{ readonly generalist: Network; readonly specialists: SpecialistNetworks }> {
  const { outputs, sureness, dissent, routed } = options;
  const dense = 16;
  const generalist = createNetwork(operations, smallNetwork({ dense, outputs }), random);
  await scaleHead(generalist, sureness);
  const specialists: Specialist[] = [];
  for (const [id, classes] of subsets.entries()) {
    const weights = Float32Array.from({ length: dense }, () => random.normal());
    const network = await createSpecialist(generalist, classes, { weights, bias: 0 });
    await scaleHead(network, dissent);
    const counts = { specialExamples: 1, otherExamples: 3, sampledSpecialFraction: 0.5, correction: 1 };
    const config = {
      kind: 'specialist',
      id,
      classes,
      head: 'dustbin',
      retrain: 'top',
      network: network.definition,
      dustbin: routed ? { ...counts, routed } : counts,
      firstDivergence: 0,
    } as const;
    specialists.push({ config, values: await networkValues(network) });
    network.dispose();
  }
  return { generalist, specialists: new SpecialistNetworks(operations, specialists) };
}

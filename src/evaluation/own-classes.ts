import { KdSpecError } from '../core/errors.js';
import { createQuery } from '../ensemble/query.js';
import type { SpecialistNetworks } from '../ensemble/specialist/specialist-networks.js';
import { softmax } from '../math/softmax.js';
import type { LabelledBatch } from '../models/accuracy.js';
import type { Network } from '../models/network.js';
import type { Top1 } from './accuracy.js';
import { createConditionalAccuracy } from './conditional.js';

/** Generalist and specialists on the classes of the specialists, before anything is fused. */
export interface OwnClasses {
  /** Images whose label a specialist covers. */
  readonly examples: number;
  /** Of an image and a specialist that covers its label. */
  readonly pairs: number;
  readonly generalist: Top1;
  readonly specialists: Top1;
}

/**
 * What specialists are worth by themselves: conditional top-1, only the classes of a specialist being allowed, on images
 * whose label it covers.
 *
 * @param batches of labelled images
 * @param options.most stops after so many images
 * @throws KdSpecError `interrupted`
 * Cost: a forward pass of the generalist, and one of each specialist over the images of its classes.
 */
export async function measureOwnClasses(
  generalist: Network,
  specialists: SpecialistNetworks,
  batches: AsyncIterable<LabelledBatch>,
  { most, signal }: { readonly most: number; readonly signal: AbortSignal },
): Promise<OwnClasses> {
  const covering = new Map<number, number[]>();
  for (const [position, { config }] of specialists.members.entries())
    for (const label of config.classes) covering.set(label, [...(covering.get(label) ?? []), position]);
  const query = createQuery(generalist, specialists, {
    temperature: 1,
    needsPlain: true,
    usesDustbin: false,
  });
  const accuracy = createConditionalAccuracy();
  let done = 0;
  for await (const batch of batches) {
    if (signal.aborted) throw new KdSpecError('interrupted', `stopped after ${done} validation images`);
    const queried = await query(batch, (_, image) => covering.get(batch.labels[image]) ?? [], {
      isTraced: true,
    });
    try {
      for (let image = 0; image < batch.count; image++) {
        const responses = queried.ofImage(image).map(({ position, logits }) => ({
          classes: specialists.members[position].config.classes,
          probabilities: softmax(logits),
        }));
        const plain = queried.plain(image);
        accuracy.add(batch.labels[image], plain, plain, responses);
      }
    } finally {
      queried.dispose();
    }
    done += batch.count;
    if (done >= most) break;
  }
  const { examples, pairs, generalist: before, specialists: own } = accuracy.result();
  return { examples, pairs, generalist: before, specialists: own };
}

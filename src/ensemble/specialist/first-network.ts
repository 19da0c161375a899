import type { Random } from '../../core/random.js';
import type { Network } from '../../models/network.js';
import { widenDense } from '../../models/widen.js';
import type { TrainingBatch } from '../../training/train.js';
import { collapseGeneralist } from './collapse.js';
import { type CollapsedSample, fitDustbinRow } from './dustbin-row.js';
import type { SpecialistHead } from './head.js';
import { createFullSpecialist, createSpecialist, firstTrainedPart, type Retrain } from './specialist.js';

/** What a specialist's first network is to be. */
interface Shape {
  readonly head: SpecialistHead;
  readonly retrain: Retrain;
  /** Units of each dense layer; null: as many as the generalist's. */
  readonly dense: readonly number[] | null;
}

/** A specialist before training. */
export interface FirstNetwork {
  readonly network: Network;
  /** KL divergence, in nats, of its prediction from the generalist's. */
  readonly divergence: number;
  /** How many images it took to make it. */
  readonly sampled: number;
}

/**
 * The network with which a specialist begins, whose prediction is the generalist's as nearly as its head allows: of the
 * generalist's size, or with the wider dense layers that `shape.dense` asks for.
 *
 * @param classes the subset, (s)
 * @param how.correction the dustbin correction, in nats, which the first bias of what lies outside the subset lacks
 * @param how.sample batches of the specialist's own mixture, to fit a dustbin's row to; a full head needs none
 * @param how.random draws the weights of units that are added
 */
export async function firstNetwork(
  { head, retrain, dense }: Shape,
  generalist: Network,
  classes: readonly number[],
  {
    correction,
    sample,
    random,
  }: {
    readonly correction: number;
    readonly sample: () => AsyncIterable<TrainingBatch>;
    readonly random: Random;
  },
): Promise<FirstNetwork> {
  const first =
    head === 'full'
      ? { network: await createFullSpecialist(generalist, classes, -correction), divergence: 0, sampled: 0 }
      : await withDustbin(
          generalist,
          classes,
          correction,
          await collapseGeneralist(generalist, sample(), classes, firstTrainedPart[retrain]),
        );
  if (dense === null) return first;
  const network = await widenDense(first.network, dense, random);
  first.network.dispose();
  return { ...first, network };
}

async function withDustbin(
  generalist: Network,
  classes: readonly number[],
  correction: number,
  collapsed: CollapsedSample,
): Promise<FirstNetwork> {
  const row = fitDustbinRow(collapsed);
  const network = await createSpecialist(generalist, classes, { ...row, bias: row.bias - correction });
  return { network, divergence: row.divergence, sampled: collapsed.inside.length };
}

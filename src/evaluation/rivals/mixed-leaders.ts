import { eachChunk, type HeadContext, type TrainedHead } from '../../training/heads/fit-head.js';
import { candidatesOf, emptyLeaders, type Leaders, lead, type ScoredSet } from './rival.js';

/** A head that was trained over some of the classes. */
export interface ScoredHead {
  readonly model: Pick<TrainedHead, 'logits'>;
  /** The classes of its logits, ascending; all others keep the logits of the generalist. */
  readonly scored: Int32Array;
}

/**
 * The leaders of images when a trained head is mixed with the generalist's by several shares.
 *
 *     z = (1 - share) z_generalist + share z_trained
 *
 * Whatever the share, a class can lead its side only if the trained head scores it no lower than the class that leads
 * there in the generalist. These are few, and the generalist's logits are computed for them alone.
 *
 * @returns for each share the leaders of each image
 * @throws KdSpecError `interrupted`
 *
 * Cost: a product with the trained head, and a pass over its logits, for each image.
 */
export async function mixedLeaders(
  { operations, head, isPictured, signal }: HeadContext,
  { model, scored }: ScoredHead,
  set: ScoredSet,
  shares: readonly number[],
): Promise<readonly Leaders[]> {
  const found = shares.map(() => emptyLeaders(set.rows));
  const { leaders, outOfPlay } = set.generalist;
  const { classes, inside } = candidatesOf(scored, isPictured);
  const columns = new Int32Array(head.classes).fill(-1);
  for (const [column, label] of scored.entries()) columns[label] = column;
  const places = classes.map((label) => columns[label]);
  const ownLogit = logitOf(head);
  await eachChunk({ operations, signal }, set, model.logits, ({ start, logits }) => {
    for (let at = 0, row = start; at < logits.length; at += scored.length, row++) {
      const kept = outOfPlay.classes[row];
      const out = kept >= 0 && columns[kept] < 0 ? kept : -1; // a head of all classes leaves none as it is
      const trainedLogit = (label: number) =>
        label === out ? outOfPlay.logits[row] : logits[at + columns[label]];
      const contenders: number[] = [];
      const contend = (from: number, to: number, leader: number) => {
        if (leader < 0) return;
        const least = trainedLogit(leader);
        for (let place = from; place < to; place++)
          if (logits[at + places[place]] >= least) contenders.push(classes[place]);
      };
      contend(0, inside, leaders.inside[row]);
      const insideContenders = contenders.length;
      contend(inside, classes.length, leaders.outside[row]);
      if (out >= 0) contenders.push(out); // leads those out of play whatever the share
      const few = { classes: Int32Array.from(contenders), inside: insideContenders };
      const features = set.features.subarray(row * set.width, (row + 1) * set.width);
      const own = contenders.map((label) =>
        label === out ? outOfPlay.logits[row] : ownLogit(features, label),
      );
      const trained = contenders.map(trainedLogit);
      for (const [index, share] of shares.entries()) {
        const mixed = Float32Array.from(own, (logit, place) => (1 - share) * logit + share * trained[place]);
        lead(found[index], row, mixed, few);
      }
    }
  });
  return found;
}

/** Computes single logits of a head, whose weights it keeps by class. */
function logitOf({ weights, bias, width, classes }: HeadContext['head']) {
  const byClass = new Float32Array(weights.length);
  for (let feature = 0; feature < width; feature++)
    for (let label = 0; label < classes; label++)
      byClass[label * width + feature] = weights[feature * classes + label];
  return (features: Float32Array, label: number): number => {
    let sum = bias[label];
    for (let feature = 0, at = label * width; feature < width; feature++, at++)
      sum += features[feature] * byClass[at];
    return sum;
  };
}

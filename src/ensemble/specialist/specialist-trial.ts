import type { Trial } from '../../compute/selector.js';
import type { NetworkDefinition } from '../../models/network-definition.js';
import { trainingTrial } from '../../training/trial.js';
import type { Subset } from '../subsets/subsets.js';
import { firstTrainedPart } from './specialist.js';
import type { SpecialistTraining } from './train-specialist.js';

/**
 * The training of a specialist of middling size, as `auto` measures it.
 *
 * @param definition of the generalist
 * @param options.inParallel whether several are trained side by side
 */
export function specialistTrial(
  definition: NetworkDefinition,
  subsets: readonly Subset[],
  {
    head,
    retrain,
    dense,
    batchSize,
    optimizer,
  }: Pick<SpecialistTraining, 'head' | 'retrain' | 'dense' | 'batchSize' | 'optimizer'>,
  { inParallel }: { readonly inParallel: boolean },
): Trial {
  const members = subsets.reduce((sum, { classes }) => sum + classes.length, 0) / Math.max(1, subsets.length);
  // A power of two, so that subsets that differ a little are one measurement; and the dustbin.
  const outputs = head === 'full' ? definition.outputs : 2 ** Math.ceil(Math.log2(Math.max(2, members))) + 1;
  return trainingTrial(
    { ...definition, copiesLogits: undefined, outputs, dense: dense ?? definition.dense },
    { batchSize, optimizer, from: firstTrainedPart[retrain], inParallel },
  );
}

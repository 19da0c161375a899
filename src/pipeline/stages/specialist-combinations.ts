import { KdSpecError } from '../../core/errors.js';
import type { SpecialistTraining } from '../../ensemble/specialist/train-specialist.js';
import type { NetworkDefinition } from '../../models/network-definition.js';

/** How specialists are to be trained, as the settings say. */
type Asked = Omit<SpecialistTraining, 'seed' | 'checkpointSeconds'>;

/** Whether specialists need the generalist's predictions for the training images, beside the features. */
export function needsPredictions({ routedShare, softShare, head }: Asked): boolean {
  return routedShare > 0 || softShare > 0 || head === 'full';
}

/**
 * Refuses settings that do not go together, before anything is computed.
 *
 * @throws KdSpecError `option-invalid`
 */
export function checkCombination(asked: Asked, generalist: NetworkDefinition): void {
  const { retrain, head, dense, labelSmoothing } = asked;
  const invalid = (what: string) => new KdSpecError('option-invalid', what);
  if (head === 'full' && labelSmoothing > 0) {
    throw invalid(
      '--specialist-label-smoothing is for heads with a dustbin: with --specialist-head full use --soft-share, which smooths towards what the generalist says',
    );
  }
  if (retrain === 'all' && needsPredictions(asked)) {
    throw invalid(
      '--routed-share, --soft-share and --specialist-head full need cached features, which --retrain all has none of: leave them at their defaults, or retrain top or head',
    );
  }
  if (dense === null) return;
  if (retrain === 'head') {
    throw invalid(
      '--specialist-dense widens layers that --retrain head leaves as they are: leave one of the two at its default',
    );
  }
  const { dense: least } = generalist;
  if (dense.length !== least.length || dense.some((units, layer) => units < least[layer])) {
    throw invalid(
      `--specialist-dense ${dense.join()}: expected ${least.length} widths, none below the generalist's (${least.join() || 'it has no dense layer'}): change them, or train another generalist`,
    );
  }
}

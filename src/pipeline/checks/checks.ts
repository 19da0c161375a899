import { KdSpecError } from '../../core/errors.js';
import { isDatasetChosen, type ResolvedSettings } from '../settings.js';
import type { StageName } from '../stage-names.js';
import type { Check } from './check.js';
import { checkDataset, checkGeneralist, checkPredictions } from './generalist-checks.js';
import { checkEnsemble, checkReport, checkSpecialists, checkSubsets } from './specialists-checks.js';
import { checkAnswers, checkStudent } from './student-checks.js';

/** The check of each section. */
export const checks: Readonly<Record<StageName, Check>> = {
  dataset: checkDataset,
  generalist: checkGeneralist,
  predictions: checkPredictions,
  subsets: checkSubsets,
  specialists: checkSpecialists,
  ensemble: checkEnsemble,
  rivals: () => {},
  answers: checkAnswers,
  student: checkStudent,
  report: checkReport,
};

/** Whether a data set was chosen at all: nobody gets a long job on synthetic images by accident. */
export function checkSource(origins: ResolvedSettings['origins']): void {
  if (isDatasetChosen(origins)) return;
  throw new KdSpecError(
    'usage',
    'expected images to work on, since there is no data set in the workspace yet: --source FOLDER takes yours (kd-spec ' +
      'run --source FOLDER makes everything at once), and --source jft-like or --classes N the synthetic data set',
  );
}

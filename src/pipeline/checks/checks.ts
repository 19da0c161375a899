import { findManifest } from '../../core/artefact.js';
import { artefactFolder } from '../../core/artefact-writer.js';
import { KdSpecError } from '../../core/errors.js';
import { optionsOf } from '../option-list.js';
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

/**
 * Whether a data set was chosen at all: nobody gets a long job on synthetic images by accident. A workspace whose first
 * run was interrupted has a data set, and does not remember yet how it was chosen.
 *
 * @throws KdSpecError `usage`
 */
export async function checkSource({
  origins,
  settings: { workspace },
}: Pick<ResolvedSettings, 'origins' | 'settings'>): Promise<void> {
  if (isDatasetChosen(origins)) return;
  const words = await datasetWords(workspace);
  if (words !== undefined) {
    throw new KdSpecError(
      'usage',
      'the data set in the workspace is of a command that was interrupted, and the workspace does not know its options: ' +
        `repeat them, ${words} among them`,
    );
  }
  throw new KdSpecError(
    'usage',
    'expected images to work on, since there is no data set in the workspace yet: --source FOLDER takes yours (kd-spec ' +
      'run --source FOLDER makes everything at once), and --source jft-like or --classes N the synthetic data set',
  );
}

/** The flags that the data set of a workspace was made with; undefined without one. */
export async function datasetWords(workspace: string): Promise<string | undefined> {
  const manifest = await findManifest(artefactFolder(workspace, 'dataset')).catch(() => undefined);
  if (manifest === undefined) return undefined;
  const words = optionsOf(['dataset']).flatMap(({ section, path, flag, option }) => {
    const value = section === undefined ? undefined : manifest.parameters[path.slice(1).join('.')];
    if (value === undefined || value === null || String(value) === String(option.default)) return [];
    if (option.type === 'boolean') return [value === true ? `--${flag}` : `--no-${flag}`];
    const text = String(value);
    return [`--${flag} ${/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`}`];
  });
  return words.length > 0 ? words.join(' ') : undefined;
}

import { join } from 'node:path';
import { stringify } from 'yaml';
import { writeFileAtomically } from '../core/atomic-file.js';
import { type ResolvedSettings, rememberedValues, workspacePipelineFile } from './settings.js';

const heading = `# The settings of this workspace, kept by kd-spec: the next command goes on with them.
# Flags and KD_SPEC_* variables go before them, and are kept here in their turn.
`;

/**
 * Writes the settings that were given into the workspace, so that `cluster --classes 2000` followed by
 * `train-specialists` does not go back to another number of classes.
 */
export async function rememberSettings(resolved: ResolvedSettings): Promise<void> {
  const path = join(resolved.settings.workspace, workspacePipelineFile);
  await writeFileAtomically(path, heading + stringify(rememberedValues(resolved)));
}

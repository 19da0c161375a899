import { readJobsStatus } from '../../jobs/status.js';
import { jobsFolder } from '../../jobs/work-file.js';
import type { Settings } from '../../pipeline/options.js';
import { type CommandContext, printResult } from '../context.js';
import { statusJson } from './describe-status.js';

/**
 * Prints what `train-specialists` without `--wait` did: it submitted jobs, as it was told, and that is its success.
 *
 * @param message what was submitted and what to do next
 */
export async function reportSubmission(
  message: string,
  { workspace, json }: Settings,
  context: CommandContext,
): Promise<void> {
  const status = await readJobsStatus(jobsFolder(workspace));
  printResult(context, { json: statusJson(status), text: message }, json);
}

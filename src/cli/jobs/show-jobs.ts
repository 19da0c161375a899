import { readJobsStatus } from '../../jobs/status.js';
import { jobsFolder } from '../../jobs/work-file.js';
import type { Settings } from '../../pipeline/options.js';
import { type CommandContext, printResult } from '../context.js';
import { statusJson, statusText } from './describe-status.js';

/** Prints where the jobs of a workspace stand. */
export async function showJobs({ workspace, json }: Settings, context: CommandContext): Promise<void> {
  const status = await readJobsStatus(jobsFolder(workspace));
  printResult(context, { json: statusJson(status), text: statusText(status) }, json);
}

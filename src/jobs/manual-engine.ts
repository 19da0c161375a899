import { collect } from './collect.js';
import type { Engine, JobEnd } from './engine.js';
import { failuresFolder, forgetFailure, readFailure } from './failure-file.js';
import { writeWork } from './work-file.js';

/**
 * Leaves the jobs to somebody else: it writes the work where `kd-spec jobs train` finds it, says how to start the
 * jobs, and looks in the folder for what they made. A job that would fail in the same way again has left a note there;
 * one that was lost is for whoever started it to start again.
 *
 * @param folder the workspace's jobsFolder
 * @param howToStart a command line for a person
 * @param options.pollMs milliseconds between two looks
 */
export function createManualEngine(
  folder: string,
  howToStart: string,
  { pollMs = 2000 }: { readonly pollMs?: number } = {},
): Engine {
  return {
    name: 'the jobs that you start',
    outlivesCoordinator: true,
    async open(work, { log, listener }) {
      const failures = failuresFolder(folder, work);
      const watched = new Set<number>();
      let timer: NodeJS.Timeout | undefined;
      const done = (position: number): JobEnd => {
        const outcome = { id: work.subsets[position].id, seconds: 0, wasDone: false };
        return { kind: 'done', outcome };
      };
      const look = async () => {
        const { missing } = await collect(work);
        for (const position of watched) {
          const end = missing.includes(position) ? await readFailure(failures, position) : done(position);
          if (end === undefined || end.kind === 'lost') continue;
          watched.delete(position);
          listener({ kind: 'ended', position, end });
        }
        if (watched.size > 0) schedule();
      };
      const schedule = () => {
        timer = setTimeout(() => look().catch((error: Error) => listener({ kind: 'broken', error })), pollMs);
      };
      return {
        async submit(positions) {
          for (const position of positions) await forgetFailure(failures, position);
          await writeWork(folder, work);
          log.info(`specialists: ${positions.length} to be trained; start their jobs with: ${howToStart}`);
          for (const position of positions) watched.add(position);
          clearTimeout(timer);
          schedule();
        },
        async cancel() {
          log.info('specialists: end the jobs where you started them');
          clearTimeout(timer);
        },
        async [Symbol.asyncDispose]() {
          clearTimeout(timer);
        },
      };
    },
  };
}

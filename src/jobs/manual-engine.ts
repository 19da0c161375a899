import { collect } from './collect.js';
import type { Engine } from './engine.js';
import { writeWork } from './work-file.js';

const pollMs = 2000;

/**
 * Leaves the jobs to somebody else: it writes the work where `kd-spec jobs train` finds it, says how to start the
 * jobs, and looks in the folder for what they made. How a job failed it cannot know.
 *
 * @param folder the workspace's jobsFolder
 * @param howToStart a command line for a person
 */
export function createManualEngine(folder: string, howToStart: string): Engine {
  return {
    name: 'the jobs that you start',
    outlivesCoordinator: true,
    async open(work, { log, listener }) {
      const watched = new Set<number>();
      let timer: NodeJS.Timeout | undefined;
      const look = async () => {
        const { missing } = await collect(work);
        for (const position of watched) {
          if (missing.includes(position)) continue;
          watched.delete(position);
          const outcome = { id: work.subsets[position].id, seconds: 0, wasDone: false };
          listener({ kind: 'ended', position, end: { kind: 'done', outcome } });
        }
        if (watched.size > 0) schedule();
      };
      const schedule = () => {
        timer = setTimeout(() => look().catch((error: Error) => listener({ kind: 'broken', error })), pollMs);
      };
      return {
        async submit(positions) {
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

import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { KdSpecError } from './errors.js';
import { systemErrorCode, withFileErrors } from './file-error.js';

const holderSchema = z.object({
  pid: z.int().positive(),
  host: z.string(),
  /** When the process started, in the system's own unit: a later process with the same pid differs. */
  started: z.string().nullable(),
  since: z.string(),
  token: z.string(),
});
type Holder = z.infer<typeof holderSchema>;

/** The right to change a workspace, held by one process at a time. */
export class WorkspaceLock implements AsyncDisposable {
  private readonly path: string;
  private readonly token: string;
  private readonly onExit = () => this.releaseAtExit();

  private constructor(path: string, token: string) {
    this.path = path;
    this.token = token;
    process.once('exit', this.onExit);
  }

  /**
   * Takes the lock of a workspace, from a dead holder if need be.
   *
   * The lock is the file `.lock`, linked into place with its content, so that it is never seen half written.
   * A holder on this machine is dead when no process has its pid and start time; of one on another machine
   * nothing can be known, so it counts as alive.
   *
   * @throws KdSpecError `workspace-busy` with the pid of a holder that is alive
   */
  static async acquire(workspace: string): Promise<WorkspaceLock> {
    const path = join(workspace, '.lock');
    return withFileErrors(path, async () => {
      await mkdir(workspace, { recursive: true });
      const token = randomUUID();
      const holder: Holder = {
        pid: process.pid,
        host: hostname(),
        started: processStart(process.pid),
        since: new Date().toISOString(),
        token,
      };
      const own = `${path}.${token}`;
      await writeFile(own, `${JSON.stringify(holder)}\n`);
      try {
        while (!(await linked(own, path))) await dropIfDead(path, own);
        return new WorkspaceLock(path, token);
      } finally {
        await rm(own, { force: true });
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.removeListener('exit', this.onExit);
    const holder = await readHolder(this.path);
    const isOurs = holder !== undefined && holder !== 'unreadable' && holder.token === this.token;
    if (isOurs) await rm(this.path, { force: true });
  }

  private releaseAtExit(): void {
    try {
      if (readFileSync(this.path, 'utf8').includes(this.token)) rmSync(this.path, { force: true });
    } catch {
      // Gone already, or the folder is: nobody is kept waiting.
    }
  }
}

async function linked(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

async function dropIfDead(path: string, own: string): Promise<void> {
  const holder = await readHolder(path);
  if (holder === undefined) return; // released in between: try again
  if (holder !== 'unreadable' && isAlive(holder)) {
    throw new KdSpecError(
      'workspace-busy',
      `expected to be alone in the workspace, but process ${holder.pid} on ${holder.host} has worked in it since ` +
        `${holder.since}: wait for it or end it, or choose another --workspace` +
        (holder.host === hostname() ? '' : ` (if that machine is gone, delete ${path})`),
    );
  }
  // Moved aside first, and looked at again: of two that see the same dead holder, only one drops it.
  const aside = `${own}.stale`;
  await rename(path, aside).catch(() => {});
  const moved = await readHolder(aside);
  if (moved !== undefined && moved !== 'unreadable' && isAlive(moved))
    await link(aside, path).catch(() => {});
  await rm(aside, { force: true });
}

async function readHolder(path: string): Promise<Holder | 'unreadable' | undefined> {
  try {
    return holderSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    return systemErrorCode(error) === 'ENOENT' ? undefined : 'unreadable';
  }
}

function isAlive({ pid, host, started }: Holder): boolean {
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    return systemErrorCode(error) === 'EPERM';
  }
  return started === null || started === processStart(pid);
}

/** When a process started, in clock ticks since boot; null where /proc does not tell. */
function processStart(pid: number): string | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

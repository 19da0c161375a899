import { createHash, randomUUID } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { link, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';
import { KdSpecError } from './errors.js';
import { systemErrorCode, withFileErrors } from './file-error.js';
import { startHeartbeat } from './heartbeat.js';
import { makeFolder } from './make-folder.js';
import { isRunning, ownIdentity } from './process-identity.js';
import { duration } from './quantity-text.js';

const holderSchema = z.object({
  pid: z.int().positive(),
  host: z.string(),
  machine: z.string(),
  started: z.string().nullable(),
  since: z.string(),
  token: z.string(),
});
type Holder = z.infer<typeof holderSchema>;

const beatSeconds = 5;
const deadAfterBeats = 6; // without a sign for so long, a holder on another machine is suspected to be dead
const watchedBeats = 2.5; // and is, if none comes in this time either
const takeoverMs = 5; // between two looks at the lock while another removes a dead holder's

/** The right to change a workspace, held by one process at a time. */
export class WorkspaceLock implements AsyncDisposable {
  /** Aborts when another took the lock, believing this process dead: it must not change the workspace any more. */
  readonly lost: AbortSignal;
  private readonly path: string;
  private readonly token: string;
  private readonly stopBeating: () => void;
  private readonly onExit = () => this.releaseAtExit();

  private constructor(path: string, token: string, beatMs: number) {
    this.path = path;
    this.token = token;
    const loss = new AbortController();
    this.lost = loss.signal;
    this.stopBeating = startHeartbeat(path, { intervalMs: beatMs, lost: () => loss.abort() });
    process.once('exit', this.onExit);
  }

  /**
   * Takes the lock of a workspace, from a dead holder if need be.
   *
   * The lock is the file `.lock`, linked into place with its content, so that it is never seen half written.
   * A holder on this machine is dead when no process has its pid and start time. One on another machine writes a
   * sign of life into the file every few seconds; it is dead when the signs stopped half a minute ago, by the file
   * system's own clock, and none comes while this process watches, which no jump of a clock can feign.
   *
   * @param options.beatMs milliseconds between two signs of life, the same for all who come to this lock
   * @throws KdSpecError `workspace-busy` with pid, host and time of a holder that is alive
   */
  static async acquire(
    workspace: string,
    { beatMs = 1000 * beatSeconds }: { beatMs?: number } = {},
  ): Promise<WorkspaceLock> {
    const path = join(workspace, '.lock');
    return withFileErrors(path, async () => {
      await makeFolder(workspace);
      const token = randomUUID();
      const holder: Holder = { ...ownIdentity(), since: new Date().toISOString(), token };
      const own = `${path}.${token}`;
      try {
        await writeFile(own, `${JSON.stringify(holder)}\n`);
        while (!(await linked(own, path))) await dropIfDead(path, own, beatMs);
        const lock = new WorkspaceLock(path, token, beatMs);
        await dropUnused(workspace);
        return lock;
      } finally {
        await rm(own, { force: true });
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.removeListener('exit', this.onExit);
    this.stopBeating();
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

/** Removes the files that processes made to take the lock, and were killed before they could remove them. */
async function dropUnused(workspace: string): Promise<void> {
  for (const name of await readdir(workspace)) {
    if (!/^\.lock\.([0-9a-f-]{36}(\.stale)?|.+\.takeover)$/.test(name)) continue;
    const path = join(workspace, name);
    const holder = await readHolder(path);
    const isLeft = holder !== undefined && holder !== 'unreadable' && isRunning(holder) === false;
    if (isLeft) await rm(path, { force: true });
  }
}

/** Removes the lock of a dead holder. @throws KdSpecError `workspace-busy` for one that is alive */
async function dropIfDead(path: string, own: string, beatMs: number): Promise<void> {
  const holder = await readHolder(path);
  if (holder === undefined) return; // released in between: try again
  if (holder !== 'unreadable') {
    const isAlive = isRunning(holder) ?? (await givesSigns(path, own, beatMs));
    if (isAlive) throw await busy(holder, path, own);
  }
  // Only who takes over from this holder may remove its lock. While the file is there nobody else gets the lock, so that
  // what is seen of it here stays true until it is removed.
  const takeover = takeoverOf(path, holder);
  if (!(await linked(own, takeover))) {
    await dropIfDead(takeover, own, beatMs).catch(async (error: unknown) => {
      if (!(error instanceof KdSpecError)) throw error;
      await wait(takeoverMs); // another is at it, and is done in a moment
    });
    return;
  }
  try {
    if (isSame(await readHolder(path), holder)) await rm(path, { force: true });
  } finally {
    await rm(takeover, { force: true });
  }
}

type Found = Holder | 'unreadable' | undefined;

const isSame = (one: Found, other: Found) =>
  one === 'unreadable' || other === 'unreadable' ? one === other : one?.token === other?.token;

/** The file of the one who removes the lock of a dead holder. */
function takeoverOf(path: string, holder: Holder | 'unreadable'): string {
  const of = holder === 'unreadable' ? holder : holder.token;
  return `${path}.${createHash('sha256').update(of).digest('hex').slice(0, 16)}.takeover`;
}

/** Whether a holder on another machine is alive, by the signs it writes into the lock. */
async function givesSigns(path: string, own: string, beatMs: number): Promise<boolean> {
  const silentMs = await silence(path, own);
  if (silentMs === undefined) return false; // released
  if (silentMs >= 0 && silentMs < deadAfterBeats * beatMs) return true;
  // Suspected to be dead, or a clock has jumped. A change that is seen happen needs no clock.
  const before = (await stat(path).catch(() => undefined))?.mtimeMs;
  await wait(watchedBeats * beatMs);
  const after = (await stat(path).catch(() => undefined))?.mtimeMs;
  return after !== undefined && before !== after;
}

/** Milliseconds since the last sign, by the clock that stamps files where the lock is. */
async function silence(path: string, own: string): Promise<number | undefined> {
  try {
    await writeFile(own, await readFile(own)); // stamps it with the present time
    return (await stat(own)).mtimeMs - (await stat(path)).mtimeMs;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function busy(holder: Holder, path: string, own: string): Promise<KdSpecError> {
  const silentMs = isRunning(holder) === undefined ? await silence(path, own) : undefined;
  const sign =
    silentMs === undefined
      ? ''
      : ` (that machine's last sign of life came ${duration(Math.max(0, silentMs) / 1000)} ago; should it be gone, ` +
        'the same command goes on by itself in a minute)';
  return new KdSpecError(
    'workspace-busy',
    `expected to be alone in the workspace, but process ${holder.pid} on ${holder.host} has worked in it since ` +
      `${holder.since}: wait for it or end it, or choose another --workspace${sign}`,
  );
}

async function readHolder(path: string): Promise<Found> {
  try {
    return holderSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    return systemErrorCode(error) === 'ENOENT' ? undefined : 'unreadable';
  }
}

import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** A process, told from every other on any machine at any time, as far as the system says. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly host: string;
  /**
   * Where its pid means something: the boot of a machine and the process namespace in it. Two containers may share
   * a host name, and one machine may change its own.
   */
  readonly machine: string;
  /** When it started, in clock ticks since boot: a later process with the same pid differs. Null if not known. */
  readonly started: string | null;
}

/** The present process. */
export function ownIdentity(): ProcessIdentity {
  return {
    pid: process.pid,
    host: hostname(),
    machine: presentMachine(),
    started: processState(process.pid)[1],
  };
}

/**
 * Whether a process runs; undefined when it is one of another machine, of which nothing can be seen from here.
 *
 * One that has ended and whose parent has not taken notice (a zombie) does not: in a container whose first process waits
 * for no other, it keeps its pid for as long as the container lives.
 */
export function isRunning({ pid, machine, started }: ProcessIdentity): boolean | undefined {
  if (machine !== presentMachine()) return undefined;
  try {
    process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
  const [state, start] = processState(pid);
  if (state === 'Z' || state === 'X') return false;
  return started === null || started === start;
}

function presentMachine(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return hostname(); // no /proc: the name is the best there is
  }
}

/** The letter of its state, and when it started; null where /proc does not tell. */
function processState(pid: number): readonly [state: string | null, started: string | null] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return [fields[0] ?? null, fields[19] ?? null];
  } catch {
    return [null, null];
  }
}

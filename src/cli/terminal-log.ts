import { MultiBar, type SingleBar } from 'cli-progress';
import type { Log, Progress } from '../core/log.js';
import { duration } from '../core/quantity-text.js';
import { terminalText } from '../core/terminal-text.js';

/** Options of {@link createTerminalLog}. */
export interface TerminalLogOptions {
  /** Says only warnings. */
  readonly quiet?: boolean;
  readonly color?: boolean;
  /** Seconds between two lines of one bar where there is no terminal. */
  readonly lineSeconds?: number;
  readonly nowMs?: () => number;
}

/** A log whose bars end with it: a bar that work left unfinished would keep the process alive and the cursor hidden. */
interface TerminalLog extends Log, Disposable {}

/**
 * A log for a person: bars on a terminal, and a plain line now and then where there is none.
 *
 * @param stream where everything goes; a terminal if its `isTTY` is true
 */
export function createTerminalLog(
  stream: NodeJS.WritableStream & { readonly isTTY?: boolean },
  {
    quiet = false,
    color = false,
    lineSeconds = 30,
    nowMs = () => performance.now(),
  }: TerminalLogOptions = {},
): TerminalLog {
  const bars = stream.isTTY === true && !quiet ? createBars(stream) : undefined;
  const line = (text: string) => {
    if (!bars?.log(text)) stream.write(`${text}\n`);
  };
  const progressLines = (label: string, total: number) =>
    plainProgress(line, label, total, lineSeconds, nowMs);
  return {
    info: (message) => {
      if (!quiet) line(terminalText(message));
    },
    warn: (message) => line(`${color ? '\u001b[33mwarning:\u001b[0m' : 'warning:'} ${terminalText(message)}`),
    progress: (label, total, { isPassing = false } = {}) => {
      if (quiet || (isPassing && !bars)) return { update: () => {}, finish: () => {} };
      return bars ? bars.progress(label, total, isPassing) : progressLines(label, total);
    },
    [Symbol.dispose]: () => bars?.stop(),
  };
}

/** Whether to write in colour: on a terminal, unless `NO_COLOR` is set (no-color.org). */
export function usesColor(
  stream: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>>,
): boolean {
  return stream.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb';
}

/** Bars that live while one of them is unfinished, with messages printed above them. */
function createBars(stream: NodeJS.WritableStream) {
  let group: MultiBar | undefined;
  let open = 0;

  function progress(label: string, total: number, isPassing: boolean): Progress {
    group ??= new MultiBar({
      stream,
      format: formatBar,
      hideCursor: true,
      gracefulExit: false,
      fps: 5,
      etaBuffer: 30,
      emptyOnZero: true,
    });
    const bar: SingleBar = group.create(total, 0, { label, note: '' });
    open++;
    let isOpen = true;
    return {
      update: (done, note) => bar.update(done, note === undefined ? {} : { note }),
      finish: (note) => {
        if (!isOpen) return;
        isOpen = false;
        if (isPassing) group?.remove(bar);
        else bar.update(total > 0 ? total : bar.getProgress(), note === undefined ? {} : { note });
        bar.stop();
        if (--open <= 0) stop();
      },
    };
  }

  /** Leaves the bars as they stand and gives the cursor back. */
  function stop(): void {
    group?.stop();
    group = undefined;
    open = 0;
  }

  function log(text: string): boolean {
    group?.log(`${text}\n`);
    return group !== undefined;
  }

  return { progress, log, stop };
}

const barWidth = 24;

function formatBar(
  _options: object,
  { progress, value, total, startTime, eta }: BarState,
  { label, note }: { readonly label: string; readonly note: string },
): string {
  const seconds = (Date.now() - startTime) / 1000;
  const parts = [label.padEnd(14)];
  if (total > 0) {
    const filled = Math.round(barWidth * Math.min(1, progress));
    parts.push(`${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)}`);
    parts.push(`${Math.floor(100 * progress)}%`.padStart(4));
    parts.push(value < total ? `${duration(seconds)}, ${duration(eta)} left` : duration(seconds));
  } else {
    parts.push(value.toLocaleString('en'), duration(seconds));
  }
  return terminalText([...parts, ...(note === '' ? [] : [note])].join('  '));
}

interface BarState {
  readonly progress: number;
  readonly value: number;
  readonly total: number;
  readonly startTime: number;
  readonly eta: number;
}

function plainProgress(
  line: (text: string) => void,
  label: string,
  total: number,
  lineSeconds: number,
  nowMs: () => number,
): Progress {
  const begin = nowMs();
  let nextMs = begin + 1000 * lineSeconds;
  const elapsed = () => duration((nowMs() - begin) / 1000);
  const say = (...parts: readonly (string | undefined)[]) =>
    line(terminalText(`${label}: ${parts.filter((part) => part !== undefined && part !== '').join(', ')}`));
  return {
    update: (done, note) => {
      if (nowMs() < nextMs) return;
      nextMs = nowMs() + 1000 * lineSeconds;
      const share =
        total > 0 ? ` of ${total.toLocaleString('en')} (${Math.floor((100 * done) / total)}%)` : '';
      const seconds = (nowMs() - begin) / 1000;
      const left = total > 0 && done > 0 && done < total ? (seconds * (total - done)) / done : undefined;
      say(
        `${done.toLocaleString('en')}${share}`,
        elapsed(),
        left === undefined ? undefined : `about ${duration(left)} left`,
        note,
      );
    },
    finish: (note) => say('done', elapsed(), note),
  };
}

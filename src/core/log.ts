/** Where messages and progress go. Commands write both to stderr; tests pass {@link silentLog}. */
export interface Log {
  info(message: string): void;
  warn(message: string): void;
  /** Starts a bar of `total` steps; a total of 0 means that it is not known. */
  progress(label: string, total: number): Progress;
}

/** One bar. */
export interface Progress {
  /** Sets the number of finished steps and, when given, a short note such as `loss 1.23`. */
  update(done: number, note?: string): void;
  finish(note?: string): void;
}

/** Says nothing. */
export const silentLog: Log = {
  info: () => {},
  warn: () => {},
  progress: () => ({ update: () => {}, finish: () => {} }),
};

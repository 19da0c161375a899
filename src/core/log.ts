/** Where messages and progress go. Commands write both to stderr; tests pass {@link silentLog}. */
export interface Log {
  info(message: string): void;
  warn(message: string): void;
  /**
   * Starts a bar of `total` steps; a total of 0 means that it is not known.
   *
   * @param options.isPassing whether it shows a part of what another bar shows: it goes away at its end, and where
   * there is no terminal it says nothing
   */
  progress(label: string, total: number, options?: { readonly isPassing?: boolean }): Progress;
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

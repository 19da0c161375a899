/** Signals from outside, turned into an abort signal that a stage answers with a checkpoint. */
export class Interruption implements Disposable {
  readonly signal: AbortSignal;
  private readonly controller = new AbortController();
  private received: 'SIGINT' | 'SIGTERM' | undefined;
  private readonly onSigint = () => this.interrupt('SIGINT');
  private readonly onSigterm = () => this.interrupt('SIGTERM');
  private readonly notify: (message: string) => void;

  /** @param notify is told once, when the first signal arrives */
  constructor(notify: (message: string) => void) {
    this.signal = this.controller.signal;
    this.notify = notify;
    process.on('SIGINT', this.onSigint);
    process.on('SIGTERM', this.onSigterm);
  }

  /** 130 after Ctrl-C; 75, the `EX_TEMPFAIL` of sysexits.h, after any other interruption. */
  get exitCode(): 130 | 75 {
    return this.received === 'SIGINT' ? 130 : 75;
  }

  [Symbol.dispose](): void {
    process.removeListener('SIGINT', this.onSigint);
    process.removeListener('SIGTERM', this.onSigterm);
  }

  private interrupt(name: 'SIGINT' | 'SIGTERM'): void {
    const isRepeated = this.received !== undefined;
    this.received = name;
    if (isRepeated) process.exit(this.exitCode);
    this.notify('stopping as soon as finished work is kept; once more ends at once');
    this.controller.abort(name);
  }
}

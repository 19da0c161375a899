import { terminalText } from '../core/terminal-text.js';

/** What a command has of the process it runs in. */
export interface CommandContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The current folder. */
  readonly folder: string;
  /** For data alone. */
  readonly stdout: NodeJS.WritableStream;
  /** For messages, progress and errors. */
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean };
  /** Aborts on the first Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
}

/** Writes the result of a command: exactly one JSON object, or text for a person. */
export function printResult(
  { stdout }: CommandContext,
  { json, text }: { readonly json: object; readonly text: string },
  asJson: boolean,
): void {
  stdout.write(
    asJson ? `${terminalText(JSON.stringify(json))}\n` : `${terminalText(text, { keepColours: true })}\n`,
  );
}

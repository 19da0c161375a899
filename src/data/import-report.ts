import { KdSpecError } from '../core/errors.js';

/** Inputs of one kind that were treated alike: how many, and one of them. */
export interface ImportFinding {
  readonly what: string;
  readonly count: number;
  readonly example: string;
  /** Whether it makes results worth less than they look, or is not what was meant. */
  readonly isWarning?: true;
}

/** What an import left out, and what it took in a way that a person may not expect. */
export interface ImportReport {
  readonly leftOut: readonly ImportFinding[];
  readonly notes: readonly ImportFinding[];
}

/** An image that cannot be read, and why. */
interface Unreadable {
  readonly name: string;
  readonly error: KdSpecError;
}

const listedFiles = 1000; // that cannot be read, in an error
const listedKinds = 64; // of findings; what is beyond them is counted together

/** Counts what an import meets on its way. */
export class ImportFindings {
  private readonly leftOut = new Map<string, ImportFinding>();
  private readonly notes = new Map<string, ImportFinding>();
  private readonly unreadableImages = new Map<string, Unreadable>();

  /** Counts something that is not taken. */
  leaveOut(what: string, example: string, count = 1): void {
    add(this.leftOut, what, example, count);
  }

  /** Counts something that is taken in a way that deserves a word. */
  note(what: string, example: string, count = 1): void {
    add(this.notes, what, example, count);
  }

  /** Counts something that is taken but is likely to be a mistake. */
  warn(what: string, example: string, count = 1): void {
    add(this.notes, what, example, count, { isWarning: true });
  }

  /** Counts an image that cannot be read; anything but a KdSpecError is thrown again. */
  unreadable(name: string, error: unknown): void {
    if (!(error instanceof KdSpecError)) throw error;
    this.unreadableImages.set(name, { name, error });
  }

  /** What most of the inputs were that were left out, in words. */
  mostLeftOut(): string {
    const [most] = [...this.leftOut.values()].sort((a, b) => b.count - a.count);
    return most ? `${most.count} ${most.what}, such as ${most.example}` : 'nothing';
  }

  /**
   * What was found.
   *
   * @param onError `stop` refuses the import when there are images that cannot be read
   * @throws KdSpecError of the first unreadable image's code, naming them all
   */
  report(onError: 'stop' | 'skip'): ImportReport {
    const { compare } = new Intl.Collator('en', { numeric: true }); // row 9 before row 10
    const bad = [...this.unreadableImages.values()].sort((a, b) => compare(a.name, b.name));
    if (bad.length > 0 && onError === 'stop') throw refusal(bad);
    const leftOut = new Map(this.leftOut);
    for (const { error, name } of bad) add(leftOut, `images that cannot be read (${error.code})`, name, 1);
    return { leftOut: [...leftOut.values()], notes: [...this.notes.values()] };
  }
}

function add(
  findings: Map<string, ImportFinding>,
  what: string,
  example: string,
  count: number,
  kind: Pick<ImportFinding, 'isWarning'> = {},
): void {
  const key = findings.has(what) || findings.size < listedKinds ? what : 'others';
  const before = findings.get(key);
  findings.set(key, {
    what: key,
    count: (before?.count ?? 0) + count,
    example: before?.example ?? example,
    ...(key === what && kind),
  });
}

function refusal(bad: readonly Unreadable[]): KdSpecError {
  const [{ error }] = bad;
  const advice = 'repair or remove them, or leave them out with --on-error skip';
  if (bad.length === 1) {
    return new KdSpecError(error.code, `${error.message} (or leave it out with --on-error skip)`, {
      cause: error,
    });
  }
  const lines = bad.slice(0, listedFiles).map((one) => `  ${one.error.message}`);
  const more = bad.length > lines.length ? [`  and ${bad.length - lines.length} more`] : [];
  return new KdSpecError(
    error.code,
    [`${bad.length} images cannot be read; ${advice}:`, ...lines, ...more].join('\n'),
    { cause: error },
  );
}

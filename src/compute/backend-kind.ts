import type { Operations } from './operations.js';

/** What a folder of backends says of each backend, without loading it: a line of the table in `backend.ts`. */
export interface BackendKind {
  /** What `--backend` takes. */
  readonly name: string;
  /** What to type to get it. */
  readonly install: string;
  /** Whether it fills a GPU, which then takes one process at a time. */
  readonly usesGpu: boolean;
  /** Whether a process of it keeps one core busy and no more. */
  readonly usesOneCore?: boolean;
  /** Finds out, without loading anything, whether it can be used here. */
  find(): Availability;
  /** Finds out more, where that takes a look at the device: for `kd-spec doctor`. */
  look?(): Promise<Availability>;
  /** Loads it. What is amiss is a reason, for a person, and not an exception. */
  load(options: {
    /** Whether the user named it, who then gets it even where it cannot be fast. */
    readonly isNamed: boolean;
  }): Promise<Operations | { readonly missing: string }>;
  /** The environment that gives one of several processes its share of the machine. */
  environment?(processes: number): Readonly<Record<string, string>>;
}

/** Whether a backend can be used here and why, for a person. */
export type Availability =
  | { readonly isAvailable: true; readonly reason: string }
  | {
      readonly isAvailable: false;
      readonly reason: string;
      /** What to do in place of what its kind says. */
      readonly remedy?: string;
    };

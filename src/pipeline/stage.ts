import type { BackendName } from '../compute/backend.js';
import type { Log } from '../core/log.js';
import type { Settings } from './options.js';
import type { StageName } from './stage-names.js';

/** What a stage works with. */
export interface StageContext {
  readonly settings: Settings;
  readonly log: Log;
  /** Aborts on Ctrl-C and SIGTERM: the stage writes a checkpoint and throws KdSpecError `interrupted`. */
  readonly signal: AbortSignal;
  /**
   * The folder to write in, which becomes the artefact when `run` returns. When an interrupted run is resumed it
   * holds what that one left; all files that are in it at the end belong to the artefact.
   */
  readonly directory: string;
  readonly workspace: string;
  /** Where the features of a foreign model are kept from one stage to the next, as `loadGeneralist` takes it. */
  readonly store: string;
  /**
   * What a stage computes on that trains nothing: the backend that was named, else the one on which the generalist was
   * trained, so that a run that was interrupted gives the same bytes as one that was not.
   */
  readonly backend: BackendName;
  /** The folder of a finished artefact that this stage needs. */
  input(stage: StageName): string;
  /** Records in the manifest which compute backend does the work. */
  usesBackend(name: string): void;
}

/**
 * One step of the pipeline, which makes one artefact.
 *
 * What it writes may depend on the seed, the options of its own section that affect results, and its inputs;
 * nothing else decides whether it is up to date.
 */
export interface Stage<Result extends object = object> {
  readonly name: StageName;
  /** What the stage does, for help, plan and progress. */
  readonly title: string;
  /** The stages whose artefacts it reads. */
  needs(settings: Settings): readonly StageName[];
  /** Files that it reads from outside the workspace, by the option that names each. */
  files?(settings: Settings): Readonly<Record<string, string>>;
  /** Does the work; returns the metrics that the manifest keeps and the command prints. */
  run(context: StageContext): Promise<Result>;
}

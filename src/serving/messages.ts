/**
 * What the HTTP API takes and gives, as types alone: server, page and OpenAPI document share them. A classified image
 * has the shape that `kd-spec infer --json` prints; what a trace adds stands beside it.
 */

/** A class with its probability. */
export interface RankedClassMessage {
  readonly index: number;
  /** The class's name. */
  readonly class: string;
  readonly probability: number;
}

/** What one specialist predicted. */
export interface SpecialistMessage {
  readonly id: number;
  /** Probability of all classes that it does not cover, after its correction. */
  readonly dustbin: number;
  readonly top: readonly RankedClassMessage[];
  /** Only with `trace`. */
  readonly trace?: {
    /** Classes of its subset. */
    readonly classes: number;
    /** What its dustbin's logit was raised by, in nats. */
    readonly correction: number;
    /** Probability mass on its subset, the generalist's and the ensemble's. */
    readonly mass: { readonly generalist: number; readonly ensemble: number };
  };
}

/** How the probability of one class changed. */
export interface MovedClassMessage {
  readonly index: number;
  readonly class: string;
  readonly generalist: number;
  readonly ensemble: number;
}

/** One image. What a model cannot tell, or was not wanted, is left out. */
export interface ClassifiedMessage {
  /** The name that the image came with; `-` without one. */
  readonly path: string;
  readonly generalist?: readonly RankedClassMessage[];
  readonly ensemble?: readonly RankedClassMessage[];
  /** Those that were queried; left out where a file was exported without a trace. */
  readonly specialists?: readonly SpecialistMessage[];
  /** The classes whose probability changed most, only with `trace`. */
  readonly moved?: readonly MovedClassMessage[];
}

/** An image that could not be classified. */
export interface FailedImageMessage {
  readonly path: string;
  readonly code: string;
  readonly message: string;
}

export interface ClassifyMessage {
  readonly images: readonly ClassifiedMessage[];
  readonly errors?: readonly FailedImageMessage[];
}

export interface ClassesMessage {
  /** All there are, or all that match the query. */
  readonly count: number;
  readonly classes: readonly { readonly index: number; readonly class: string }[];
}

/** One class. */
export interface ClassMessage {
  readonly index: number;
  readonly class: string;
  /** Images of it that the server can show: `/v1/classes/{index}/examples/{number}`, from 0. */
  readonly examples: number;
  /** The specialists that cover it, kept or not. */
  readonly specialists: readonly number[];
}

export interface SpecialistsMessage {
  /** All that are named, kept or not. */
  readonly count: number;
  readonly specialists: readonly {
    readonly id: number;
    /** Whether calibration kept it: one that it did not keep is queried for no image. */
    readonly isKept: boolean;
    readonly size: number;
    /** Names of the most typical classes. */
    readonly classes: readonly string[];
  }[];
}

/** One specialist. */
export interface SpecialistSubsetMessage {
  readonly id: number;
  /** Whether calibration kept it: one that it did not keep is queried for no image. */
  readonly isKept: boolean;
  readonly classes: readonly { readonly index: number; readonly class: string }[];
}

/** Images of the test set: `/v1/test-images/{row}`. */
export interface TestImagesMessage {
  readonly count: number;
  readonly images: readonly { readonly row: number; readonly index: number; readonly class: string }[];
}

export interface CorrectionMessage {
  readonly class: string;
  /** Within the folder of corrections. */
  readonly file: string;
  /** Whether the image was there before, under this class or another. */
  readonly isReplaced: boolean;
}

/** What the server is and can do. */
export interface ServerMessage {
  readonly name: string;
  readonly version: string;
  /** Of the model: changes when another is taken up. */
  readonly model: string;
  readonly classes: number;
  /** Those that take part. */
  readonly specialists: number;
  readonly image: { readonly height: number; readonly width: number; readonly channels: number };
  readonly canTrace: boolean;
  readonly takesCorrections: boolean;
  readonly testImages: number;
  readonly limits: {
    readonly bodyBytes: number;
    readonly pixels: number;
    readonly images: number;
    readonly deadlineMs: number;
  };
}

export interface ErrorMessage {
  readonly error: { readonly code: string; readonly message: string; readonly requestId: string };
}

/** What happened, as one line of a log. */
export interface LogEntry {
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
  readonly [detail: string]: string | number | boolean;
}

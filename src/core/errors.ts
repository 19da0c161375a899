/**
 * The one error class of kd-spec and the one table of its codes.
 *
 * A message says what was expected, what came, where (file, line, shard and row) and what to do next.
 * `docs/errors.md` lists every code below; a test holds the two together.
 */
export const errorCodes = {
  usage: 'The command line was not understood.',
  'option-invalid':
    'An option has a value outside its range, or one that cannot work with the others or with an imported model; or only an option can say what such a model leaves open.',
  'pipeline-invalid': 'A pipeline or dataset file does not fit its schema.',
  'not-found': 'A file or folder that was named does not exist.',
  'not-readable': 'A file or folder exists but cannot be read or written.',
  'disk-full': 'The disk is full.',
  'image-empty': 'An image file is empty.',
  'image-unreadable': 'A file is not an image that can be decoded.',
  'image-too-large': 'An image has more pixels than the limit allows.',
  'font-unusable': 'A font is missing, cannot be read, or covers too few characters.',
  'speech-failed': 'espeak-ng, which synthesises the speech data set, is missing or failed.',
  'dataset-invalid': 'A data set does not have the layout, the columns or the classes that were expected.',
  'shard-truncated': 'An Arrow shard ends before its end-of-stream marker.',
  'shard-corrupt': 'An Arrow shard does not have the content that was recorded when it was written.',
  'predictions-invalid': 'Prediction rows are not sparse probability distributions over the classes.',
  'checkpoint-invalid': 'A safetensors file or its configuration is damaged or does not fit the network.',
  'artefact-corrupt': 'An artefact of the workspace does not match its manifest.',
  'workspace-busy': 'Another process holds the workspace.',
  'backend-unavailable': 'The requested compute backend cannot be used on this machine.',
  'backend-failed': 'The GPU reported an error, or a tensor is larger than it can hold.',
  'image-shape': 'Images do not have the shape that a classifier takes, or rows are out of its range.',
  disposed: 'A classifier was used after it was disposed of.',
  'training-diverged': 'The loss became infinite or not a number.',
  'fusion-input': 'The distributions given to the fusion are not valid.',
  'subsets-invalid': 'The requested subsets cannot be made, or a subsets file does not fit its schema.',
  'patch-refused': 'A patched model would be worse than the original, or no better.',
  'slurm-failed': 'A command of Slurm is missing or too old, does not respond, or refused a request.',
  'jobs-under-way': 'Jobs submitted to a cluster are not done yet.',
  'job-failed': 'A job that trains a specialist failed.',
  'specialists-stopped': 'Training of specialists was stopped; each one in training wrote a checkpoint.',
  'address-unavailable': 'The server cannot listen at the address that was given.',
  'request-invalid': 'A request to the server is not one that its API describes.',
  'request-too-large': 'A request to the server is larger than its limits allow.',
  'request-refused': 'A request came under another name than the server has, or from a page of another site.',
  unauthorised: 'A request has no token, or a wrong one.',
  'server-busy': 'The server has as much under way as it takes.',
  'deadline-passed': 'A request waited longer for its prediction than it may.',
  interrupted: 'The command was interrupted; finished work is kept, and the next run continues.',
} as const satisfies Record<string, string>;

/** One of the codes of {@link errorCodes}. */
export type ErrorCode = keyof typeof errorCodes;

/**
 * Every error that kd-spec throws on purpose.
 *
 * @example
 * const error = new KdSpecError('not-found', 'no image here: check the path');
 * error.code; // 'not-found'
 */
export class KdSpecError extends Error {
  override readonly name = 'KdSpecError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Throws an ordinary `Error` when an inner invariant does not hold: a defect of kd-spec, not of its input. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`kd-spec defect: ${message}`);
}

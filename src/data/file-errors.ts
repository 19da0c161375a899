import { KdSpecError } from '../core/errors.js';

/**
 * Turns a failure of the file system into a {@link KdSpecError} that names the file and what to do.
 *
 * @param error what a call of `node:fs` threw; anything that is no file-system failure is returned as it is
 * @param path the file or folder
 * @param expected what should have been there, for a person, e.g. `an Arrow shard`
 */
export function fileError(error: unknown, path: string, expected: string): unknown {
  if (!(error instanceof Error) || error instanceof KdSpecError || !('code' in error)) return error;
  switch (error.code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new KdSpecError('not-found', `expected ${expected} at ${path}, found nothing: check the path`, {
        cause: error,
      });
    case 'ENOSPC':
    case 'EDQUOT':
      return new KdSpecError('disk-full', `no room left to write ${path}: free some space and run it again`, {
        cause: error,
      });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case 'EISDIR':
    case 'EMFILE':
    case 'EIO':
      return new KdSpecError(
        'not-readable',
        `expected ${expected} at ${path}, but it cannot be opened (${error.code}): check its kind and permissions`,
        { cause: error },
      );
    default:
      return error;
  }
}

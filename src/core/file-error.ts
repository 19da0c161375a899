import { type ErrorCode, KdSpecError } from './errors.js';

const meanings: Readonly<Record<string, { readonly code: ErrorCode; readonly advice: string }>> = {
  ENOSPC: {
    code: 'disk-full',
    advice: 'no room left on the disk: free some, then run the same command again',
  },
  EDQUOT: {
    code: 'disk-full',
    advice: 'the disk quota is used up: free some, then run the same command again',
  },
  EACCES: {
    code: 'not-readable',
    advice: 'permission denied: change its permissions or choose another place',
  },
  EPERM: { code: 'not-readable', advice: 'not permitted: change its permissions or choose another place' },
  EROFS: { code: 'not-readable', advice: 'the file system is read-only: choose another place' },
  EMFILE: { code: 'not-readable', advice: 'too many files are open: raise the limit (ulimit -n)' },
  EIO: { code: 'not-readable', advice: 'the disk does not answer: check the device' },
  EISDIR: { code: 'not-readable', advice: 'expected a file, found a folder' },
  EEXIST: { code: 'not-readable', advice: 'expected a folder, found a file' },
  ENOTDIR: { code: 'not-readable', advice: 'expected a folder, found a file on the way' },
  ENOENT: { code: 'not-found', advice: 'it does not exist: check the path' },
};

/**
 * Turns what the file system throws into the error a user can act on.
 *
 * @param error what was caught; anything but a known file system error comes back as it is
 * @param path the file or folder that was being used
 * @param expected what should be there, for a person, e.g. `an Arrow shard`
 * @returns a KdSpecError `disk-full`, `not-readable` or `not-found`, or `error` itself
 */
export function asFileError(error: unknown, path: string, expected?: string): unknown {
  const errno = systemErrorCode(error);
  const meaning = errno === undefined ? undefined : meanings[errno];
  if (meaning === undefined) return error;
  const place = expected === undefined ? path : `${path}, where ${expected} should be`;
  return new KdSpecError(meaning.code, `${place}: ${meaning.advice} (${errno})`, { cause: error });
}

/** Runs a piece of work on files, with its errors passed through {@link asFileError}. */
export async function withFileErrors<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asFileError(error, path);
  }
}

/** The code of a system error, such as `ENOENT`; undefined for anything else. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || error.name === 'KdSpecError') return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

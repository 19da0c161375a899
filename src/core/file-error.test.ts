import { expect, test } from 'vitest';
import { asFileError } from './file-error.js';

const systemError = (code: string) => Object.assign(new Error(code), { code });

test.each([
  ['ENOSPC', 'disk-full'],
  ['EDQUOT', 'disk-full'],
  ['EACCES', 'not-readable'],
  ['EROFS', 'not-readable'],
  ['ENOENT', 'not-found'],
])('%s becomes %s and names the place', (errno, code) => {
  expect(asFileError(systemError(errno), '/data/shard')).toMatchObject({
    code,
    message: expect.stringMatching(`^/data/shard: .*${errno}`),
  });
});

test('what is not of the file system stays as it is', () => {
  const error = new TypeError('no');
  expect(asFileError(error, '/data')).toBe(error);
});

import { describe, expect, test } from 'vitest';
import { createAccess, isLoopback, tokensOf } from './access.js';

const token = '0123456789abcdef';

test('other machines need a token, and a token is long', () => {
  for (const host of ['0.0.0.0', '::', '192.168.1.2', 'example.org', '127.example.org'])
    expect(() => createAccess(host, [])).toThrow(expect.objectContaining({ code: 'option-invalid' }));
  for (const host of ['127.0.0.1', '127.1.2.3', 'localhost', '::1']) {
    expect(isLoopback(host)).toBe(true);
    expect(createAccess(host, []).needsToken).toBe(false);
  }
  expect(createAccess('0.0.0.0', [token]).needsToken).toBe(true);
  for (const bad of ['short', `${token} and more`])
    expect(() => createAccess('127.0.0.1', [bad])).toThrow(
      expect.objectContaining({ code: 'option-invalid' }),
    );
});

test('a token stands on each line of a file', () => {
  expect(tokensOf(`\n ${token}\r\n\nanother\n`)).toEqual([token, 'another']);
});

describe('without a token', () => {
  const { checkOrigin, checkToken } = createAccess('127.0.0.1', []);
  test('requests must name this machine', () => {
    for (const host of ['localhost', 'localhost:8080', '127.0.0.1:80', '[::1]:8080', 'LOCALHOST:1'])
      expect(() => checkOrigin({ host })).not.toThrow();
    for (const host of [
      undefined,
      '',
      'evil.example',
      'evil.example:8080',
      'localhost.evil.example',
      '127.evil.example',
    ])
      expect(() => checkOrigin({ host })).toThrow(expect.objectContaining({ code: 'request-refused' }));
    checkToken({});
  });
  test('pages of other sites are refused, the own page is not', () => {
    const host = 'localhost:8080';
    expect(() => checkOrigin({ host, origin: `http://${host}` })).not.toThrow();
    for (const origin of ['https://evil.example', 'null', 'http://localhost:8081', `https://${host}`])
      expect(() => checkOrigin({ host, origin })).toThrow(
        expect.objectContaining({ code: 'request-refused' }),
      );
  });
});

test('with tokens, one of them must be there, and names do not matter', () => {
  const { checkOrigin, checkToken } = createAccess('0.0.0.0', [token, 'f'.repeat(32)]);
  checkOrigin({ host: 'api.example', origin: 'https://page.example' });
  checkToken({ authorization: `Bearer ${token}` });
  checkToken({ authorization: `bearer ${'f'.repeat(32)}` });
  for (const authorization of [
    undefined,
    '',
    'Bearer',
    `Bearer ${token}x`,
    `Basic ${token}`,
    token,
    'Bearer f',
  ])
    expect(() => checkToken({ authorization })).toThrow(expect.objectContaining({ code: 'unauthorised' }));
});

import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import { KdSpecError } from '../core/errors.js';

/** Who may ask. */
export interface Access {
  readonly needsToken: boolean;
  /**
   * Checks what every request must satisfy: that a page of another site is not behind it.
   *
   * Without a token the server is for this machine alone, and every page that its browsers show can reach it: a
   * request must name the machine itself (a foreign name may have been bound to its address), and one that comes from
   * a page must come from the server's own.
   *
   * @throws KdSpecError `request-refused`
   */
  checkOrigin(headers: RequestHeaders): void;
  /**
   * Checks the token, in constant time.
   *
   * @throws KdSpecError `unauthorised`
   */
  checkToken(headers: RequestHeaders): void;
}

/** Of a request, by name in lower case. */
export interface RequestHeaders {
  readonly host?: string | undefined;
  readonly origin?: string | undefined;
  readonly authorization?: string | undefined;
}

const leastTokenLetters = 16;

/**
 * @param host that the server listens on
 * @param tokens any of which lets a request in; none for a server of this machine alone
 * @throws KdSpecError `option-invalid` for other hosts without a token, and for a short token
 */
export function createAccess(host: string, tokens: readonly string[]): Access {
  if (tokens.length === 0 && !isLoopback(host)) {
    throw new KdSpecError(
      'option-invalid',
      `expected a token for a server that other machines reach (${host}): write one into a file, as with ` +
        '`openssl rand -hex 32`, and give it with --token-file; or listen on 127.0.0.1',
    );
  }
  if (tokens.some((token) => token.length < leastTokenLetters || /[^\x21-\x7e]/.test(token))) {
    throw new KdSpecError(
      'option-invalid',
      `expected tokens of at least ${leastTokenLetters} letters and digits, one on each line, without spaces: make ` +
        'one with `openssl rand -hex 32`',
    );
  }
  const digests = tokens.map(digestOf);
  return {
    needsToken: tokens.length > 0,
    checkOrigin({ host, origin }) {
      if (tokens.length > 0) return; // no browser sends the token by itself
      if (host === undefined || !isLoopback(nameOf(host))) {
        throw new KdSpecError(
          'request-refused',
          `expected a request for this machine (localhost), got one for ${host ?? 'no host'}: give the server a ` +
            '--token-file to serve it under another name',
        );
      }
      if (origin !== undefined && origin !== `http://${host}`) {
        throw new KdSpecError(
          'request-refused',
          `expected a request of the server's own page, got one of ${origin}: give the server a --token-file to use ` +
            'it from other pages',
        );
      }
    },
    checkToken({ authorization }) {
      if (tokens.length === 0) return;
      const given = digestOf(/^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1] ?? '');
      // All are compared, so that time does not tell which of them came close.
      const matches = digests.map((digest) => timingSafeEqual(digest, given));
      if (matches.includes(true)) return;
      throw new KdSpecError(
        'unauthorised',
        'expected the header Authorization: Bearer TOKEN with a token of the server: get one from its operator',
      );
    },
  };
}

/** The tokens in the text of a file: one on each line. */
export function tokensOf(text: string): readonly string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** The name in a `Host` header. */
function nameOf(host: string): string {
  return host.replace(/:\d*$/, '').replace(/^\[(.*)\]$/, '$1');
}

/** Whether a host is this machine to itself. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase();
  return name === 'localhost' || name === '::1' || (isIP(name) === 4 && name.startsWith('127.'));
}

import type { HttpBindings } from '@hono/node-server';
import type { Context } from 'hono';
import { routePath } from 'hono/route';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { type ErrorCode, KdSpecError } from '../core/errors.js';
import type { JsonObject } from '../core/json.js';
import { integerOf } from './classify.js';
import type { ErrorMessage } from './messages.js';
import type { Metrics } from './metrics.js';
import type { PageFile } from './page-files.js';

// What a request says, and how it is responded to: for all routes alike.

/** What the routes note about a request. */
export interface Variables {
  requestId: string;
  /** Added to the line of the log. */
  note: JsonObject;
}

/** A request with its response. */
export type Call = Context<{ Bindings: HttpBindings; Variables: Variables }>;

export const statuses: Partial<Readonly<Record<ErrorCode, ContentfulStatusCode>>> = {
  'request-invalid': 400,
  'option-invalid': 400,
  unauthorised: 401,
  'request-refused': 403,
  'not-found': 404,
  'request-too-large': 413,
  'image-empty': 422,
  'image-unreadable': 422,
  'image-too-large': 422,
  'server-busy': 503,
  'deadline-passed': 503,
  'disk-full': 507,
};

/** A strict policy: what the page loads comes from the server; pictures may also be what a person chose. */
export const securityHeaders = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
} as const;

export const refusals: Partial<Readonly<Record<ErrorCode, Parameters<Metrics['refused']>[0]>>> = {
  'server-busy': 'busy',
  'deadline-passed': 'deadline',
  unauthorised: 'unauthorised',
  'request-refused': 'unauthorised',
  'request-invalid': 'invalid',
  'request-too-large': 'invalid',
};

export function messageOf(c: Call, code: string, message: string): ErrorMessage {
  return { error: { code, message, requestId: c.get('requestId') } };
}

export function deadlinePassed(deadlineMs: number): KdSpecError {
  return new KdSpecError(
    'deadline-passed',
    `expected a prediction within ${deadlineMs} ms, the server has too much to do: try again later`,
  );
}

const mostListed = 1000;

/** A part of a list, as `offset` and `limit` name it. */
export function paged<T>(all: readonly T[], query: URLSearchParams): readonly T[] {
  const offset = integerOf(query, 'offset', { most: Number.MAX_SAFE_INTEGER, otherwise: 0 });
  const limit = integerOf(query, 'limit', { most: mostListed, otherwise: 100 });
  return all.slice(offset, offset + limit);
}

/** @throws KdSpecError `not-found` for a place beyond the last */
export function placeOf(c: Call, name: string, count: number): number {
  const text = c.req.param(name) ?? '';
  const place = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (place < count) return place;
  throw new KdSpecError(
    'not-found',
    `expected ${withArticle(name)} below ${count}, got "${text.slice(0, 20)}"`,
  );
}

const withArticle = (name: string) => `${/^[aeiou]/.test(name) ? 'an' : 'a'} ${name}`;

export function queryOf(c: Call): URLSearchParams {
  return new URL(c.req.url).searchParams;
}

export function headersOf(c: Call) {
  const { host, origin, authorization } = c.env.incoming.headers;
  return { host, origin, authorization };
}

/** The pattern of the route, of which there are few, for logs and metrics. */
export function routeOf(c: Call): string {
  return routePath(c, -1);
}

export function picture(c: Call, image: Uint8Array): Response {
  return c.body(Uint8Array.from(image), 200, {
    'content-type': mediaTypeOf(image),
    'cache-control': 'private, max-age=3600',
  });
}

/** Images of data sets are what kd-spec wrote, or what a Hugging Face data set embeds. */
function mediaTypeOf(image: Uint8Array): string {
  if (image[0] === 0x89) return 'image/png';
  if (image[0] === 0xff) return 'image/jpeg';
  return image[0] === 0x52 ? 'image/webp' : 'application/octet-stream';
}

export async function page(c: Call, file: PageFile): Promise<Response> {
  const { text, tag } = await file.load();
  const headers = { 'content-type': file.type, 'cache-control': 'no-cache', etag: tag };
  return c.req.header('if-none-match') === tag ? c.body(null, 304, headers) : c.body(text, 200, headers);
}

import type { ErrorMessage } from '../messages.js';

/** What the page is told when a request fails; its message is for a person. */
export class RequestFailure extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const tokenKey = 'kd-spec-token';

/** Remembers the token as long as the tab is open. */
export function useToken(token: string): void {
  sessionStorage.setItem(tokenKey, token);
}

/** The headers that a request of this page needs. */
export function authorization(): Record<string, string> {
  const token = sessionStorage.getItem(tokenKey);
  return token === null ? {} : { authorization: `Bearer ${token}` };
}

/**
 * Makes a request of the server that the page is from.
 *
 * @throws RequestFailure
 */
async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = { ...authorization(), ...Object.fromEntries(new Headers(init.headers)) };
  const response = await fetch(path, { ...init, headers }).catch(() => {
    throw new RequestFailure(0, 'The server does not respond. Check that it still runs, then try again.');
  });
  if (response.ok || response.status === 422) return response;
  const retry = response.headers.get('retry-after');
  const when = retry === null ? '' : ` It asks to wait ${retry} s.`;
  const body: Partial<ErrorMessage> = await response.json().catch(() => ({}));
  throw new RequestFailure(response.status, `${sentence(body.error?.message ?? response.statusText)}${when}`);
}

/** @throws RequestFailure */
export async function getJson<T>(path: string): Promise<T> {
  return (await request(path)).json();
}

/** @throws RequestFailure */
export async function getImage(path: string): Promise<Blob> {
  return (await request(path)).blob();
}

/** @throws RequestFailure */
export async function postImage<T>(path: string, image: Blob): Promise<T> {
  const body = new FormData();
  body.append('image', image, image instanceof File && image.name !== '' ? image.name : 'the image');
  return (await request(path, { method: 'POST', body })).json();
}

/** A message of the server as a sentence. */
export function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

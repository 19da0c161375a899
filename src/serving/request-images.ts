import type { IncomingMessage } from 'node:http';
import { finished } from 'node:stream/promises';
import { Busboy } from '@fastify/busboy';
import { KdSpecError } from '../core/errors.js';
import type { Admission, Release } from './admission.js';

/** An image as a client sent it. */
export interface ReceivedImage {
  /** Of the file, without folders; `-` without one. */
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Set where it is the body of the request itself, not a file of a form. */
  readonly isBody?: true;
}

/** What a request may bring. */
export interface BodyLimits {
  readonly bodyBytes: number;
  /** Images in one request. */
  readonly images: number;
}

const mostNameLetters = 200;

/**
 * The images in the body of a request: the body itself, or each file of a form (`multipart/form-data`).
 *
 * The body is read whole. Its bytes are reserved as they come, so that slow clients hold no more than they sent.
 *
 * @returns the images, and what frees their bytes
 * @throws KdSpecError `request-invalid`, `request-too-large`, `server-busy`
 */
export async function receiveImages(
  incoming: IncomingMessage,
  admission: Admission,
  limits: BodyLimits,
): Promise<{ readonly images: readonly ReceivedImage[]; readonly release: Release }> {
  const type = incoming.headers['content-type'] ?? 'application/octet-stream';
  const isForm = /^multipart\/form-data\s*(;|$)/i.test(type);
  if (!isForm && !/^(image\/|application\/octet-stream\s*(;|$))/i.test(type)) {
    throw new KdSpecError(
      'request-invalid',
      `expected the bytes of an image (image/*, application/octet-stream) or a form of files (multipart/form-data), ` +
        `got ${printable(type)}: send the file itself, as curl does with -F image=@image.jpg, ` +
        `or with --data-binary @image.jpg -H 'content-type: image/jpeg'`,
    );
  }
  const { body, release } = await readBody(incoming, admission, limits.bodyBytes);
  try {
    const images = isForm
      ? await filesOfForm(body, type, limits)
      : [{ name: '-', bytes: body, isBody: true as const }];
    return { images, release };
  } catch (error) {
    release();
    throw error;
  }
}

const discardedBytes = 2 ** 18; // that are read for nothing, so that a refused client can keep its connection

/** Passes over the body of a request that is refused, if it is small; a connection with another one is closed. */
export async function discardBody(incoming: IncomingMessage): Promise<void> {
  if (!(Number(incoming.headers['content-length']) <= discardedBytes)) return;
  incoming.resume();
  if (!incoming.readableEnded) await finished(incoming).catch(() => {});
}

async function readBody(
  incoming: IncomingMessage,
  admission: Admission,
  mostBytes: number,
): Promise<{ readonly body: Uint8Array; readonly release: Release }> {
  const tooLarge = () =>
    new KdSpecError(
      'request-too-large',
      `expected a body of at most ${mostBytes} bytes: send smaller images, or fewer of them in a request`,
    );
  if (Number(incoming.headers['content-length'] ?? 0) > mostBytes) throw tooLarge();
  const chunks: Uint8Array[] = [];
  const reserved: Release[] = [];
  const release = () => {
    for (const free of reserved) free();
  };
  let length = 0;
  try {
    for await (const chunk of incoming.iterator({ destroyOnReturn: false })) {
      const bytes: Uint8Array = chunk;
      length += bytes.length;
      if (length > mostBytes) throw tooLarge();
      reserved.push(admission.reserveBytes(bytes.length));
      chunks.push(bytes);
    }
    if (!incoming.complete) throw new Error('the connection was closed');
    return { body: Buffer.concat(chunks), release };
  } catch (error) {
    release();
    if (error instanceof KdSpecError) throw error;
    throw new KdSpecError('request-invalid', `expected the whole body, ${length} bytes came: send it again`, {
      cause: error,
    });
  }
}

/** The files of a form, in order. */
function filesOfForm(
  body: Uint8Array,
  type: string,
  { images: mostImages, bodyBytes }: BodyLimits,
): Promise<readonly ReceivedImage[]> {
  return new Promise((resolve, reject) => {
    const refuse = (message: string, cause?: unknown) =>
      reject(new KdSpecError('request-invalid', message, { cause }));
    const tooMany = () =>
      reject(
        new KdSpecError(
          'request-too-large',
          `expected at most ${mostImages} images in a request: send the others in a request of their own`,
        ),
      );
    try {
      const form = new Busboy({
        headers: { 'content-type': type },
        limits: {
          files: mostImages,
          fields: 1,
          parts: mostImages + 1,
          fieldSize: 1024,
          fieldNameSize: 256,
          fileSize: bodyBytes,
          headerPairs: 16,
        },
      });
      const images: ReceivedImage[] = [];
      form.on('file', (field, stream, fileName) => {
        const chunks: Uint8Array[] = [];
        stream.on('data', (chunk: Uint8Array) => chunks.push(chunk));
        stream.on('error', (error: Error) =>
          refuse('expected a whole form, its last file is cut off: send it again', error),
        );
        const name = printable(fileName || field).slice(0, mostNameLetters) || '-';
        const position = images.push({ name, bytes: Buffer.alloc(0) }) - 1;
        stream.on('end', () => {
          images[position] = { name, bytes: Buffer.concat(chunks) };
        });
      });
      form.on('field', (name) =>
        refuse(
          `expected files alone in the form, got the field "${printable(name)}": what is not an image goes into the ` +
            'query, as in ?top=3; a file needs a filename',
        ),
      );
      form.on('filesLimit', tooMany);
      form.on('partsLimit', tooMany);
      form.on('error', (error) => refuse(`expected a form of files: ${messageOf(error)}`, error));
      form.on('finish', () => {
        if (images.length > 0) resolve(images);
        else
          refuse(
            'expected one or more files in the form, got none: add some, as curl does with -F image=@image.jpg',
          );
      });
      form.end(body);
    } catch (error) {
      refuse(`expected a form of files: ${messageOf(error)}`, error);
    }
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A client's text without control characters, for messages. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, '').trim();
}

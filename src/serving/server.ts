import { once } from 'node:events';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { assert, KdSpecError } from '../core/errors.js';
import { systemErrorCode } from '../core/file-error.js';
import type { Classifier } from '../models/classifier.js';
import { createAccess, isLoopback } from './access.js';
import { createAdmission } from './admission.js';
import { createApp } from './app.js';
import { createDecoder } from './classify.js';
import { openCorrections } from './corrections.js';
import type { Gallery } from './gallery.js';
import type { LogEntry } from './messages.js';
import { createMetrics } from './metrics.js';
import { createModelSlot, type Servable } from './served-model.js';

/** Options of {@link createServer}. */
export interface ServerOptions {
  /** What to listen on. Any but this machine itself needs `tokens`. */
  readonly host?: string;
  /** 0 for one that is free. */
  readonly port?: number;
  /** Any of which has to stand in `Authorization: Bearer`; of at least 16 letters. */
  readonly tokens?: readonly string[];
  /** Names the classifier to clients and in the log. */
  readonly version?: string;
  /** Images of its classes, for the page. */
  readonly gallery?: Gallery | undefined;
  /** Keeps images that people gave another class in this folder. */
  readonly corrections?: string | undefined;
  /** The most images that are predicted together. */
  readonly batchImages?: number;
  /** How long the first of them waits for others. */
  readonly batchWaitMs?: number;
  /** The most images between their first byte and their prediction; what comes beyond gets a 503. */
  readonly queueImages?: number;
  /** The most images of one request. */
  readonly maxImages?: number;
  /** The most bytes of one request. */
  readonly maxBodyBytes?: number;
  /** The most pixels that an image's header may announce. */
  readonly maxPixels?: number;
  /** How long it may take to decode an image; 1 or more. */
  readonly decodeSeconds?: number;
  /** How long a request may wait for its prediction. */
  readonly deadlineMs?: number;
  /** How long requests may take to end after `close`. */
  readonly drainMs?: number;
  /** Gets a line for each request, and more. */
  readonly log?: (entry: LogEntry) => void;
}

/** A server that runs. */
export interface ClassifierServer {
  /** Where it listens, such as `http://127.0.0.1:8080/`. */
  readonly url: string;
  /**
   * Takes up another classifier without losing a request: those under way end with the former, which is then disposed
   * of.
   *
   * @throws KdSpecError `option-invalid` for one that takes no images
   */
  replace(servable: Servable): void;
  /** Tells of another model that could not be taken up. */
  failedToReplace(error: Error): void;
  /** Takes no more connections, ends the requests that are under way, and disposes of the classifier. */
  close(): Promise<void>;
}

const headersTimeoutMs = 10_000;
const requestTimeoutMs = 30_000; // for headers and body
const keepAliveMs = 72_000; // longer than the 60 s of common proxies, which then close first
const mostConnections = 2048;
const mostHeaderBytes = 16_384;
const bytesUnderWay = 256 * 2 ** 20; // of all bodies together, at least

/**
 * Serves a classifier over HTTP: `POST /v1/classify` and what else `/openapi.json` describes, and a page at `/`.
 *
 * It listens on this machine alone unless there are tokens. Images of all requests are predicted in common batches. What
 * is beyond the limits is refused before it is read.
 *
 * @param classifier anything that takes images; with a `trace`, as an `Ensemble` has it, the predictions of generalist
 * and specialists are served, too. The server owns it until `close`.
 * @returns once it listens
 * @throws KdSpecError `option-invalid`; `address-unavailable` when the port is taken or not allowed
 *
 * @example
 * const server = await createServer(await loadEnsemble('kd-workspace'), { port: 8080 });
 * process.once('SIGTERM', () => server.close());
 */
export async function createServer(
  classifier: Classifier,
  {
    host = '127.0.0.1',
    port = 8080,
    tokens = [],
    version = 'unnamed',
    gallery,
    corrections,
    batchImages = 32,
    batchWaitMs = 4,
    queueImages = 256,
    maxImages = 32,
    maxBodyBytes = 20 * 2 ** 20,
    maxPixels = 50e6,
    decodeSeconds = 5,
    deadlineMs = 10_000,
    drainMs = 30_000,
    log = () => {},
  }: ServerOptions = {},
): Promise<ClassifierServer> {
  checkTakesImages(classifier);
  const access = createAccess(host, tokens);
  const folder = corrections === undefined ? undefined : await openCorrections(corrections);
  const admission = createAdmission({
    images: queueImages,
    bytes: Math.max(bytesUnderWay, 2 * maxBodyBytes),
  });
  const metrics = createMetrics(() => admission.images);
  const slot = createModelSlot(
    { classifier, version, gallery },
    {
      batchSize: batchImages,
      waitMs: batchWaitMs,
      onBatch(report) {
        admission.measured(report.images, report.seconds);
        metrics.batch(report);
      },
    },
  );
  metrics.model(classifier.name, version, classifier.classes.length);
  let isDraining = false;
  const app = createApp({
    slot,
    admission,
    decoder: createDecoder({ pixels: maxPixels, seconds: decodeSeconds }),
    access,
    metrics,
    corrections: folder,
    limits: {
      bodyBytes: maxBodyBytes,
      pixels: maxPixels,
      images: Math.min(maxImages, queueImages),
      deadlineMs,
    },
    log,
    isDraining: () => isDraining,
  });
  const adaptor = createAdaptorServer({
    fetch: app.fetch,
    overrideGlobalObjects: false,
    createServer: createHttpServer,
    serverOptions: {
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: 1000,
      keepAliveTimeout: keepAliveMs,
      maxHeaderSize: mostHeaderBytes,
      noDelay: true,
    },
  });
  assert(isHttp1(adaptor), 'a server of HTTP/2');
  const server: Server = adaptor;
  server.maxConnections = mostConnections;
  try {
    await listen(server, host, port);
  } catch (error) {
    metrics.close();
    throw error;
  }
  let closing: Promise<void> | undefined;

  async function close(): Promise<void> {
    isDraining = true;
    log({ level: 'info', message: 'draining: no more connections', images: admission.images });
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const late = setTimeout(() => {
      log({ level: 'warn', message: `requests did not end within ${drainMs} ms and are cut off` });
      server.closeAllConnections();
    }, drainMs);
    // Connections that are idle now were closed; one that becomes idle is closed by its response.
    const idle = setInterval(() => server.closeIdleConnections(), 100);
    await closed;
    clearTimeout(late);
    clearInterval(idle);
    slot.close();
    metrics.close();
    log({ level: 'info', message: 'closed' });
  }
  return {
    url: urlOf(server, host),
    replace(servable) {
      checkTakesImages(servable.classifier);
      slot.replace(servable);
      const { classifier, version } = servable;
      metrics.model(classifier.name, version, classifier.classes.length);
      metrics.modelLoad('taken up');
      log({ level: 'info', message: 'took up another model', model: version });
    },
    failedToReplace(error) {
      metrics.modelLoad('failed');
      log({
        level: 'warn',
        message: `keeps the present model: ${error.message}`,
        model: slot.current.version,
      });
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}

function checkTakesImages({ name, input }: Classifier): void {
  if (input.kind === 'images') return;
  throw new KdSpecError(
    'option-invalid',
    `expected a classifier that takes images, ${name} holds predictions for rows: serve the model that made them`,
  );
}

function isHttp1(server: object): server is Server {
  return 'closeIdleConnections' in server;
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  server.listen({ host, port });
  try {
    await once(server, 'listening');
  } catch (error) {
    const reasons: Readonly<Record<string, string>> = {
      EADDRINUSE: 'another program listens there: choose another --port, or 0 for one that is free',
      EACCES: 'it is not permitted: choose a --port of 1024 or more',
      EADDRNOTAVAIL: 'it is no address of this machine: choose another --host',
      ENOTFOUND: 'there is no such host: choose another --host',
    };
    const code = systemErrorCode(error) ?? '';
    const reason = reasons[code];
    if (reason === undefined) throw error;
    throw new KdSpecError(
      'address-unavailable',
      `cannot listen on ${host}, port ${port}: ${reason} (${code})`,
      {
        cause: error,
      },
    );
  }
}

function urlOf(server: Server, host: string): string {
  const address = server.address();
  assert(typeof address === 'object' && address !== null, 'a server without an address');
  const name = host.includes(':') ? `[${host}]` : host;
  return `http://${isLoopback(host) || host !== '0.0.0.0' ? name : 'localhost'}:${address.port}/`;
}

import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { HttpBindings } from '@hono/node-server';
import { Hono } from 'hono';
import { assert, KdSpecError } from '../core/errors.js';
import { packageVersion } from '../core/package.js';
import type { ImageShape } from '../data/source.js';
import type { Classifier } from '../models/classifier.js';
import type { Access } from './access.js';
import { type Admission, busy } from './admission.js';
import { canTrace } from './batcher.js';
import {
  type Call,
  deadlinePassed,
  headersOf,
  messageOf,
  page,
  paged,
  picture,
  placeOf,
  queryOf,
  refusals,
  routeOf,
  securityHeaders,
  statuses,
  type Variables,
} from './calls.js';
import { classifyImages, type Decoder, expectParameters, integerOf, readWanted } from './classify.js';
import type { Corrections } from './corrections.js';
import type {
  ClassesMessage,
  ClassifyMessage,
  ClassMessage,
  CorrectionMessage,
  LogEntry,
  ServerMessage,
  SpecialistSubsetMessage,
  SpecialistsMessage,
  TestImagesMessage,
} from './messages.js';
import type { Metrics } from './metrics.js';
import { documentedOperations, openApiDocument } from './openapi.js';
import { pageFiles } from './page-files.js';
import { discardBody, type ReceivedImage, receiveImages } from './request-images.js';
import type { ModelSlot, ServedModel } from './served-model.js';

/** What the routes work with. */
export interface Surroundings {
  readonly slot: ModelSlot;
  readonly admission: Admission;
  readonly decoder: Decoder;
  readonly access: Access;
  readonly metrics: Metrics;
  readonly corrections: Corrections | undefined;
  readonly limits: {
    readonly bodyBytes: number;
    readonly pixels: number;
    readonly images: number;
    readonly deadlineMs: number;
  };
  readonly log: (entry: LogEntry) => void;
  readonly isDraining: () => boolean;
}

const typicalClasses = 8; // that a list of specialists names

/** The routes of the server. */
export function createApp(
  surroundings: Surroundings,
): Hono<{ Bindings: HttpBindings; Variables: Variables }> {
  const { slot, admission, access, metrics, corrections, limits, log, isDraining } = surroundings;
  const app = new Hono<{ Bindings: HttpBindings; Variables: Variables }>();

  app.use(async (c, next) => {
    const begin = performance.now();
    const given = c.req.header('x-request-id') ?? '';
    const requestId = /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();
    c.set('requestId', requestId);
    c.set('note', {});
    try {
      access.checkOrigin(headersOf(c));
      await next();
    } catch (error) {
      c.res = failure(c, error);
    }
    c.res.headers.set('x-request-id', requestId);
    for (const [name, value] of Object.entries(securityHeaders)) c.res.headers.set(name, value);
    if (!c.res.headers.has('cache-control')) c.res.headers.set('cache-control', 'no-store');
    if (isDraining()) c.res.headers.set('connection', 'close');
    const { outgoing } = c.env;
    outgoing.once('close', () => {
      const seconds = (performance.now() - begin) / 1000;
      const { status } = c.res;
      const route = routeOf(c);
      metrics.request(route, c.req.method, status, seconds);
      log({
        level: status >= 500 && status !== 503 ? 'error' : 'info',
        message: `${c.req.method} ${route} ${status}`,
        requestId,
        method: c.req.method,
        path: c.req.path.slice(0, 200),
        status,
        ms: Math.round(1e4 * seconds) / 10,
        ...(outgoing.writableFinished ? {} : { isCutOff: true }),
        ...c.get('note'),
      });
    });
  });
  app.onError((error, c) => failure(c, error));
  app.notFound((c) => {
    throw new KdSpecError('not-found', `there is nothing at ${c.req.path.slice(0, 200)}: see /openapi.json`);
  });

  app.get('/healthz', (c) => c.text('ok\n'));
  app.get('/readyz', (c) => (isDraining() ? c.text('about to end\n', 503) : c.text('ready\n')));
  app.get('/openapi.json', (c) =>
    c.json(openApiDocument(packageVersion(), { needsToken: access.needsToken })),
  );
  for (const file of pageFiles) app.get(file.path, async (c) => page(c, file));

  app.use('/metrics', token);
  app.use('/v1', token);
  app.use('/v1/*', token);
  async function token(c: Call, next: () => Promise<void>) {
    access.checkToken(headersOf(c));
    await next();
  }
  app.get('/metrics', async (c) => {
    const { type, text } = await metrics.page();
    return c.body(text, 200, { 'content-type': type });
  });

  app.get('/v1', (c) => c.json(describeServer(surroundings) satisfies ServerMessage));
  app.post('/v1/classify', (c) =>
    withImages(c, async (images, signal, model) => {
      const wanted = readWanted(queryOf(c), model);
      const shape = imageShapeOf(model);
      const found = await classifyImages(images, wanted, {
        model,
        shape,
        decoder: surroundings.decoder,
        signal,
      });
      metrics.images('classified', found.images.length);
      metrics.images('failed', found.errors?.length ?? 0);
      c.header('x-model-version', model.version);
      return c.json(found satisfies ClassifyMessage, found.images.length === 0 ? 422 : 200);
    }),
  );
  app.post('/v1/corrections', (c) => {
    if (corrections === undefined) {
      throw new KdSpecError(
        'not-found',
        'the server keeps no corrections: start it with --corrections FOLDER',
      );
    }
    return withImages(c, async ([image, ...others], signal, model) => {
      const query = queryOf(c);
      expectParameters(query, ['index']);
      const { classes } = model.classifier;
      const index = integerOf(query, 'index', { most: classes.length - 1 });
      if (others.length > 0)
        throw new KdSpecError('request-invalid', `expected one image, got ${1 + others.length}`);
      await surroundings.decoder.decode(image, imageShapeOf(model), signal); // what cannot be read is no example
      const kept = await corrections.add(image.bytes, classes[index], {
        class: classes[index],
        model: model.version,
        requestId: c.get('requestId'),
        time: new Date().toISOString(),
      });
      metrics.correction();
      return c.json({ class: classes[index], ...kept } satisfies CorrectionMessage);
    });
  });

  app.get('/v1/classes', (c) => {
    const query = queryOf(c);
    expectParameters(query, ['query', 'offset', 'limit']);
    const { classes } = slot.current.classifier;
    const text = query.get('query')?.normalize('NFC').toLowerCase() ?? '';
    const matching: number[] = [];
    for (const [index, name] of classes.entries())
      if (text === '' || name.normalize('NFC').toLowerCase().includes(text)) matching.push(index);
    return c.json({
      count: matching.length,
      classes: paged(matching, query).map((index) => ({ index, class: classes[index] })),
    } satisfies ClassesMessage);
  });
  app.get('/v1/classes/:index', (c) => {
    const { classifier, gallery } = slot.current;
    const index = placeOf(c, 'index', classifier.classes.length);
    const covering = canTrace(classifier)
      ? classifier.specialists.filter(({ config }) => config.classes.includes(index))
      : [];
    return c.json({
      index,
      class: classifier.classes[index],
      examples: gallery?.examples(index) ?? 0,
      specialists: covering.map(({ config }) => config.id),
    } satisfies ClassMessage);
  });
  app.get('/v1/classes/:index/examples/:number', async (c) => {
    const { classifier, gallery } = slot.current;
    const index = placeOf(c, 'index', classifier.classes.length);
    const position = placeOf(c, 'number', gallery?.examples(index) ?? 0);
    const image = await gallery?.example(index, position);
    assert(image !== undefined, 'an example that is counted and not there');
    return picture(c, image);
  });

  app.get('/v1/specialists', (c) => {
    const query = queryOf(c);
    expectParameters(query, ['offset', 'limit']);
    const { classifier } = slot.current;
    const all = listedSpecialists(classifier);
    return c.json({
      count: all.length,
      specialists: paged(all, query).map(({ id, classes, isKept }) => ({
        id,
        isKept,
        size: classes.length,
        classes: classes.slice(0, typicalClasses).map((label) => classifier.classes[label]),
      })),
    } satisfies SpecialistsMessage);
  });
  app.get('/v1/specialists/:id', (c) => {
    const { classifier } = slot.current;
    const all = listedSpecialists(classifier);
    const found = all.find(({ id }) => String(id) === c.req.param('id'));
    if (found === undefined)
      throw new KdSpecError(
        'not-found',
        `there is no specialist ${c.req.param('id').slice(0, 20)} among ${all.length}`,
      );
    const { id, classes, isKept } = found;
    return c.json({
      id,
      isKept,
      classes: Array.from(classes, (index) => ({ index, class: classifier.classes[index] })),
    } satisfies SpecialistSubsetMessage);
  });

  app.get('/v1/test-images', (c) => {
    const query = queryOf(c);
    expectParameters(query, ['offset', 'limit']);
    const { classifier, gallery } = slot.current;
    const labels = gallery?.testLabels ?? new Int32Array();
    const rows = paged(Array.from(labels.keys()), query);
    return c.json({
      count: labels.length,
      images: rows.map((row) => {
        const index = labels[row];
        return { row, index, class: classifier.classes[index] ?? '' };
      }),
    } satisfies TestImagesMessage);
  });
  app.get('/v1/test-images/:row', async (c) => {
    const { gallery } = slot.current;
    const row = placeOf(c, 'row', gallery?.testLabels.length ?? 0);
    const image = await gallery?.testImage(row);
    assert(image !== undefined, 'a test image that is counted and not there');
    return picture(c, image);
  });
  for (const path of new Set(documentedOperations.map((operation) => operation.path))) {
    const methods = documentedOperations.filter((operation) => operation.path === path);
    const allowed = methods.map(({ method }) => method.toUpperCase()).join(', ');
    app.all(path.replace(/\{(\w+)\}/g, ':$1'), (c) => {
      c.header('allow', allowed);
      return c.json(messageOf(c, 'request-invalid', `expected ${allowed} here, got ${c.req.method}`), 405);
    });
  }
  return app;

  /** Runs work on the images of a request, within the deadline and the bounds of what is under way. */
  async function withImages(
    c: Call,
    work: (images: readonly ReceivedImage[], signal: AbortSignal, model: ServedModel) => Promise<Response>,
  ): Promise<Response> {
    try {
      return await withRoom(c, work);
    } catch (error) {
      if (error instanceof KdSpecError && error.code === 'server-busy') await admission.turnToRefuse();
      throw error;
    }
  }

  async function withRoom(
    c: Call,
    work: (images: readonly ReceivedImage[], signal: AbortSignal, model: ServedModel) => Promise<Response>,
  ): Promise<Response> {
    const { incoming, outgoing } = c.env;
    assert('httpVersionMajor' in incoming && incoming.httpVersionMajor === 1, 'a request of HTTP/2');
    if (admission.isFull) {
      await discardBody(incoming);
      throw busy('images');
    }
    const { images, release } = await receiveImages(incoming, admission, limits);
    const gone = new AbortController();
    const onClose = () => gone.abort(new KdSpecError('request-invalid', 'the client went away'));
    outgoing.once('close', onClose);
    const timer = setTimeout(() => gone.abort(deadlinePassed(limits.deadlineMs)), limits.deadlineMs);
    try {
      const releaseImages = admission.reserveImages(images.length);
      try {
        using lease = slot.lease();
        c.set('note', { images: images.length, model: lease.model.version });
        return await work(images, gone.signal, lease.model);
      } finally {
        releaseImages();
      }
    } finally {
      clearTimeout(timer);
      outgoing.removeListener('close', onClose);
      release();
    }
  }

  /** What a request gets for an error; one that kd-spec does not know goes to the log with its stack. */
  function failure(c: Call, error: unknown): Response {
    const status = error instanceof KdSpecError ? statuses[error.code] : undefined;
    if (!(error instanceof KdSpecError) || status === undefined) {
      const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
      log({ level: 'error', message: stack, requestId: c.get('requestId') });
      const text =
        error instanceof KdSpecError
          ? error.message
          : 'this is a defect of kd-spec: see the log of the server';
      const code = error instanceof KdSpecError ? error.code : 'defect';
      return c.json(messageOf(c, code, text), 500);
    }
    const { code, message } = error;
    c.set('note', { ...c.get('note'), code });
    if (code === 'server-busy' || code === 'deadline-passed')
      c.header('retry-after', String(admission.retryAfterSeconds()));
    if (code === 'unauthorised') c.header('www-authenticate', 'Bearer');
    const reason = refusals[code];
    if (reason) metrics.refused(reason);
    return c.json(messageOf(c, code, message), status);
  }
}

function describeServer({ slot, corrections, limits }: Surroundings): ServerMessage {
  const { classifier, version, gallery } = slot.current;
  const { height, width, channels } = imageShapeOf(slot.current);
  return {
    name: 'kd-spec',
    version: packageVersion(),
    model: version,
    classes: classifier.classes.length,
    specialists: keptSpecialists(classifier),
    image: { height, width, channels },
    canTrace: canTrace(classifier),
    takesCorrections: corrections !== undefined,
    testImages: gallery?.testLabels.length ?? 0,
    limits,
  };
}

/** The specialists that a model names, also those that calibration did not keep, which are queried for no image. */
function listedSpecialists(classifier: Classifier) {
  if (!canTrace(classifier)) return [];
  const { specialists, kept } = classifier;
  return specialists.map(({ config: { id, classes } }, position) => ({
    id,
    classes,
    isKept: kept?.[position] ?? true,
  }));
}

/** How many specialists take part, also where a file does not name them. */
function keptSpecialists(classifier: Classifier): number {
  const named = listedSpecialists(classifier).filter(({ isKept }) => isKept).length;
  return canTrace(classifier) ? (classifier.specialistCount ?? named) : 0;
}

/** The shape of a served model's images, which `createServer` has checked. */
function imageShapeOf({ classifier }: ServedModel): ImageShape {
  assert(classifier.input.kind === 'images', 'a served model that takes no images');
  return classifier.input.image;
}

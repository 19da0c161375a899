import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterEach, describe, expect, test } from 'vitest';
import { encodePng } from '../data/image-codec.js';
import { imageFolderSource } from '../data/importers/image-folder.js';
import { type Classifier, createClassifier, type ImageBatch } from '../models/classifier.js';
import { documentedOperations } from './openapi.js';
import { type ClassifierServer, createServer, type ServerOptions } from './server.js';

const shape = { height: 4, width: 4, channels: 1 } as const;
const classes = ['dark', 'light', 'grey/green'];

/** Predicts by the first pixel; `slow` waits before each batch. */
function brightness({ slow = async () => {} }: { slow?: () => Promise<void> } = {}) {
  const state = { isDisposed: false };
  const classifier: Classifier = createClassifier({
    name: 'brightness',
    classes,
    input: { kind: 'images', image: shape },
    async probabilities({ images, count }: ImageBatch, out) {
      await slow();
      for (let row = 0; row < count; row++) {
        const value = images[16 * row];
        out.set([0.9 * (1 - value), 0.9 * value, 0.1], 3 * row);
      }
    },
    dispose: () => {
      state.isDisposed = true;
    },
  });
  return { classifier, state };
}

const grey = (value: number) => encodePng(new Uint8Array(16).fill(value), shape);

const open: ClassifierServer[] = [];
const folders: string[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

async function start(options: ServerOptions = {}, classifier = brightness().classifier) {
  const server = await createServer(classifier, { port: 0, ...options });
  open.push(server);
  const call = (path: string, init?: RequestInit) => fetch(new URL(path, server.url), init);
  const post = (body: Uint8Array | FormData, query = '', headers: Record<string, string> = {}) =>
    call(`/v1/classify${query}`, {
      method: 'POST',
      body: body instanceof Uint8Array ? Buffer.from(body) : body,
      headers,
    });
  return { server, call, post };
}

/** A model whose batches wait until they are let go. */
function heldModel() {
  const waiting: (() => void)[] = [];
  let isOpen = false;
  const model = brightness({
    slow: () => (isOpen ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
  });
  return {
    ...model,
    async begun() {
      while (waiting.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    },
    letGo() {
      isOpen = true;
      for (const resolve of waiting.splice(0)) resolve();
    },
  };
}

/** The body of a response, as JSON. */
const json = async (response: Response) => JSON.parse(await response.text());
const codeOf = async (response: Response) => (await json(response)).error.code;

describe('classify', () => {
  test('the body is an image, or a form has one in each file', async () => {
    const { post } = await start({ version: 'v7' });
    const one = await post(await grey(255), '?top=2');
    expect(one.status).toBe(200);
    expect(one.headers.get('x-model-version')).toBe('v7');
    const { images } = await json(one);
    expect(images).toEqual([
      {
        path: '-',
        ensemble: [
          { index: 1, class: 'light', probability: expect.closeTo(0.9) },
          { index: 2, class: 'grey/green', probability: expect.closeTo(0.1) },
        ],
      },
    ]);
    const form = new FormData();
    form.append('image', new Blob([Buffer.from(await grey(0))]), '../../etc/dark.png');
    form.append('image', new Blob(['no image']), 'notes.txt');
    form.append('other', new Blob([Buffer.from(await grey(255))]), 'light.png');
    const several = await post(form, '?top=1');
    expect(several.status).toBe(200);
    const found = await json(several);
    expect(
      found.images.map(({ path, ensemble }: { path: string; ensemble: { class: string }[] }) => [
        path,
        ensemble[0].class,
      ]),
    ).toEqual([
      ['dark.png', 'dark'],
      ['light.png', 'light'],
    ]);
    expect(found.errors).toEqual([
      { path: 'notes.txt', code: 'image-unreadable', message: expect.stringContaining('notes.txt') },
    ]);
  });

  test('what is no image, too large, or not as the API has it is refused with its reason', async () => {
    const { post, call } = await start({ maxBodyBytes: 20_000, maxImages: 2, maxPixels: 1000 });
    expect((await post(Buffer.from('no image'))).status).toBe(422);
    const bare = await post(new Uint8Array());
    expect(bare.status).toBe(422);
    expect((await json(bare)).errors).toEqual([
      {
        path: '-',
        code: 'image-empty',
        message: expect.stringMatching(/^expected an image, and the request has no body: send one, /),
      },
    ]);
    const emptyFile = new FormData();
    emptyFile.append('image', new Blob([]), 'empty.png');
    expect((await json(await post(emptyFile))).errors).toMatchObject([
      { path: 'empty.png', message: expect.stringContaining('in empty.png, found 0 bytes') },
    ]);
    const vast = await sharp({ create: { width: 100, height: 100, channels: 3, background: 'red' } })
      .png()
      .toBuffer();
    const failed = await post(vast);
    expect(failed.status).toBe(422);
    expect((await json(failed)).errors).toMatchObject([{ path: '-', code: 'image-too-large' }]);
    const drawing = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>');
    expect((await json(await post(drawing))).errors).toMatchObject([{ code: 'image-unreadable' }]);

    const large = await post(new Uint8Array(20_001));
    expect([large.status, await codeOf(large)]).toEqual([413, 'request-too-large']);
    const form = new FormData();
    for (const name of ['a', 'b', 'c']) form.append('image', new Blob([Buffer.from(await grey(0))]), name);
    const many = await post(form);
    expect([many.status, await codeOf(many)]).toEqual([413, 'request-too-large']);
    const field = new FormData();
    field.append('top', '3');
    expect((await post(field)).status).toBe(400);
    expect((await post(new FormData())).status).toBe(400);
    const broken = await post(Buffer.from('--x\r\nno end'), '', {
      'content-type': 'multipart/form-data; boundary=x',
    });
    expect(broken.status).toBe(400);
    expect((await post(Buffer.from('{}'), '', { 'content-type': 'application/json' })).status).toBe(400);
    for (const query of [
      '?top=0',
      '?top=x',
      '?top=101',
      '?tops=3',
      '?trace=1',
      '?show=all',
      '?show=generalist',
      '?trace=true',
    ])
      expect([query, (await post(await grey(0), query)).status]).toEqual([query, 400]);
    const other = await call('/v1/classify');
    expect([other.status, other.headers.get('allow')]).toEqual([405, 'POST']);
    expect((await call('/v2')).status).toBe(404);
  });

  test('requests share batches, and each gets its own answer', async () => {
    const held = heldModel();
    const { post, call } = await start({ batchImages: 8 }, held.classifier);
    const first = post(await grey(10)); // runs alone
    await held.begun();
    const values = [0, 255, 0, 255, 255];
    const others = values.map(async (value) => post(await grey(value), '?top=1'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    held.letGo();
    await first;
    const names = await Promise.all(
      others.map(async (response) => (await json(await response)).images[0].ensemble[0].class),
    );
    expect(names).toEqual(values.map((value) => (value === 0 ? 'dark' : 'light')));
    expect(await (await call('/metrics')).text()).toContain('kd_spec_images_total{result="classified"} 6');
  });
});

describe('under load', () => {
  test('beyond the queue there is a 503 that says when to come back, and what is in the queue gets its answer', async () => {
    const held = heldModel();
    const { post, call } = await start({ queueImages: 3, batchImages: 1 }, held.classifier);
    const inside = [];
    for (let count = 0; count < 3; count++) inside.push(post(await grey(0)));
    await held.begun();
    while (!(await (await call('/metrics')).text()).includes('kd_spec_images_under_way 3'))
      await new Promise((resolve) => setTimeout(resolve, 2));
    const beyond = await post(await grey(0));
    expect([beyond.status, await codeOf(beyond)]).toEqual([503, 'server-busy']);
    expect(Number(beyond.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect((await call('/healthz')).status).toBe(200);
    held.letGo();
    expect((await Promise.all(inside)).map(({ status }) => status)).toEqual([200, 200, 200]);
    expect((await post(await grey(0))).status).toBe(200);
  });

  test('a request that waits beyond its deadline gets a 503', async () => {
    const held = heldModel();
    const { post } = await start({ deadlineMs: 40 }, held.classifier);
    const late = await post(await grey(0));
    expect([late.status, await codeOf(late)]).toEqual([503, 'deadline-passed']);
    expect(late.headers.get('retry-after')).toMatch(/^\d+$/);
    held.letGo();
  });

  test('a body without end is cut off at its limit, and a client that goes away is forgotten', async () => {
    const { server, call, post } = await start({ maxBodyBytes: 4096 });
    const { port } = new URL(server.url);
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(Number(port), '127.0.0.1');
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(text));
      socket.write('POST /v1/classify HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n');
      const flood = () => {
        while (!socket.destroyed && socket.write(`400\r\n${'x'.repeat(1024)}\r\n`));
      };
      socket.on('drain', flood);
      flood();
    });
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    const socket = connect(Number(port), '127.0.0.1');
    socket.write('POST /v1/classify HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2000\r\n\r\nabc');
    await new Promise((resolve) => setTimeout(resolve, 20));
    socket.destroy();
    expect((await post(await grey(0))).status).toBe(200);
    expect(await (await call('/metrics')).text()).toContain('kd_spec_images_under_way 0');
  });
});

describe('models come and go', () => {
  test('a request ends with the model that it began with; the former is disposed of after it', async () => {
    const former = heldModel();
    const { server, post } = await start({ version: 'one' }, former.classifier);
    const before = post(await grey(0));
    await former.begun();
    const next = brightness();
    server.replace({ classifier: next.classifier, version: 'two' });
    const after = post(await grey(0));
    expect(former.state.isDisposed).toBe(false);
    former.letGo();
    expect((await before).headers.get('x-model-version')).toBe('one');
    expect((await before).status).toBe(200);
    expect((await after).headers.get('x-model-version')).toBe('two');
    while (!former.state.isDisposed) await new Promise((resolve) => setTimeout(resolve, 2));
    expect(next.state.isDisposed).toBe(false);
  });

  test('closing ends what is under way and takes nothing new', async () => {
    const held = heldModel();
    const { server, post, call } = await start({}, held.classifier);
    const under = post(await grey(0));
    await held.begun();
    const closed = server.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    await expect(call('/healthz')).rejects.toThrow();
    expect(held.state.isDisposed).toBe(false);
    held.letGo();
    const response = await under;
    expect(response.status).toBe(200);
    await response.arrayBuffer();
    await closed;
    expect(held.state.isDisposed).toBe(true);
  });

  test('rows are no images; a taken port and a foreign address are told', async () => {
    const rows = createClassifier({
      name: 'stored',
      classes,
      input: { kind: 'rows', rows: 3 },
      logits: async () => {},
      dispose() {},
    });
    await expect(createServer(rows, { port: 0 })).rejects.toMatchObject({ code: 'option-invalid' });
    const { server } = await start();
    const taken = createServer(brightness().classifier, { port: Number(new URL(server.url).port) });
    await expect(taken).rejects.toMatchObject({ code: 'address-unavailable' });
    const everywhere = createServer(brightness().classifier, { host: '0.0.0.0', port: 0 });
    await expect(everywhere).rejects.toMatchObject({ code: 'option-invalid' });
  });
});

test('tokens guard the API, not the probes', async () => {
  const { call } = await start({ tokens: ['0123456789abcdef'] });
  for (const path of ['/healthz', '/readyz', '/openapi.json']) expect((await call(path)).status).toBe(200);
  for (const path of ['/v1', '/v1/classes', '/v1/classify', '/metrics']) {
    const refused = await call(path, { method: path.endsWith('classify') ? 'POST' : 'GET' });
    expect([path, refused.status, refused.headers.get('www-authenticate')]).toEqual([path, 401, 'Bearer']);
  }
  const headers = { authorization: 'Bearer 0123456789abcdef' };
  expect((await call('/v1', { headers })).status).toBe(200);
});

test('pages of other sites are refused; ids of requests come back; every response is guarded', async () => {
  const { call } = await start();
  const foreign = await call('/v1', { headers: { origin: 'https://evil.example' } });
  expect([foreign.status, await codeOf(foreign)]).toEqual([403, 'request-refused']);
  const named = await call('/v1', { headers: { 'x-request-id': 'mine-1' } });
  expect(named.headers.get('x-request-id')).toBe('mine-1');
  const odd = await call('/v1', { headers: { 'x-request-id': 'a b<script>' } });
  expect(odd.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  for (const response of [foreign, named]) {
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  }
});

test('classes are found by a part of their name and given in pages', async () => {
  const { call } = await start();
  expect(await json(await call('/v1/classes?query=GR'))).toEqual({
    count: 1,
    classes: [{ index: 2, class: 'grey/green' }],
  });
  expect(await json(await call('/v1/classes?offset=1&limit=1'))).toEqual({
    count: 3,
    classes: [{ index: 1, class: 'light' }],
  });
  expect(await json(await call('/v1/classes/1'))).toEqual({
    index: 1,
    class: 'light',
    examples: 0,
    specialists: [],
  });
  for (const path of [
    '/v1/classes/3',
    '/v1/classes/x',
    '/v1/classes/0/examples/0',
    '/v1/specialists/0',
    '/v1/test-images/0',
  ])
    expect([path, (await call(path)).status]).toEqual([path, 404]);
  expect((await call('/v1/classes?limit=100000')).status).toBe(400);
  for (const [path, message] of [
    ['/v1/classes/abc', 'expected an index below 3, got "abc"'],
    ['/v1/test-images/7', 'expected a row below 0, got "7"'],
  ])
    expect((await json(await call(path))).error.message).toBe(message);
});

test('specialists that calibration did not keep are listed as such, and do not count among those that take part', async () => {
  const { classifier } = brightness();
  const named = [0, 1].map((id) => ({ config: { id, classes: [id, 2] } }));
  const tracing = (kept?: readonly boolean[], specialistCount?: number) => ({
    ...classifier,
    specialists: named,
    kept,
    specialistCount,
    trace: async () => [],
  });
  const { call } = await start({}, tracing([false, true], 1));
  expect(await json(await call('/v1'))).toMatchObject({ specialists: 1 });
  expect(await json(await call('/v1/specialists'))).toEqual({
    count: 2,
    specialists: [
      { id: 0, isKept: false, size: 2, classes: ['dark', 'grey/green'] },
      { id: 1, isKept: true, size: 2, classes: ['light', 'grey/green'] },
    ],
  });
  expect(await json(await call('/v1/specialists/0'))).toMatchObject({ id: 0, isKept: false });
  expect(await json(await call('/v1/specialists/1'))).toMatchObject({ id: 1, isKept: true });
  const { components } = await json(await call('/openapi.json'));
  for (const schema of [
    components.schemas.specialists.properties.specialists.items,
    components.schemas.specialist,
  ])
    expect(schema).toMatchObject({ properties: { isKept: { type: 'boolean' } } });

  const { call: callFile } = await start({}, tracing()); // a file holds those that were kept alone
  expect(await json(await callFile('/v1'))).toMatchObject({ specialists: 2 });
  const { specialists } = await json(await callFile('/v1/specialists'));
  expect(specialists).toMatchObject([{ isKept: true }, { isKept: true }]);
});

test('a correction is kept in the folder of its class, once, and moves with a second thought', async () => {
  const corrections = await mkdtemp(join(tmpdir(), 'kd-spec-corrections-'));
  folders.push(corrections);
  const { call } = await start({ corrections });
  const correct = async (index: number, body: Uint8Array) =>
    call(`/v1/corrections?index=${index}`, { method: 'POST', body: Buffer.from(body) });
  const image = await grey(7);
  const kept = await json(await correct(0, image));
  expect(kept).toMatchObject({ class: 'dark', isReplaced: false });
  expect(await readFile(join(corrections, kept.file))).toEqual(Buffer.from(image));
  expect(await json(await correct(1, image))).toMatchObject({ class: 'light', isReplaced: true });
  expect(await readdir(join(corrections, 'dark'))).toEqual([]);
  expect(await readdir(join(corrections, 'light'))).toHaveLength(1);
  const read = await imageFolderSource(corrections, { imageSize: 4, seed: 1 });
  expect([read.classes, read.count('train')]).toEqual([['light'], 1]);
  // A person may have removed the file meanwhile.
  await rm(join(corrections, 'light'), { recursive: true });
  expect(await json(await correct(1, image))).toMatchObject({ class: 'light', isReplaced: false });
  expect(await readdir(join(corrections, 'light'))).toHaveLength(1);
  expect((await correct(0, Buffer.from('no image'))).status).toBe(422);
  expect((await correct(3, image)).status).toBe(400);
  expect(await json(await correct(2, await grey(9)))).toMatchObject({
    class: 'grey/green', // which no folder can be named
    file: expect.stringMatching(/^grey_green-[0-9a-f]{8}\/[0-9a-f]{24}\.png$/),
  });
  const both = await imageFolderSource(corrections, { imageSize: 4, seed: 1 });
  expect(both.classes).toEqual(['grey/green', 'light']);
  const lines = (await readFile(join(corrections, '.corrections.jsonl'), 'utf8')).trim().split('\n');
  expect(lines.map((line) => JSON.parse(line).class)).toEqual(['dark', 'light', 'light', 'grey/green']);
});

test('without a folder there are no corrections', async () => {
  const { call } = await start();
  const refused = await call('/v1/corrections?index=0', { method: 'POST', body: Buffer.from(await grey(0)) });
  expect(refused.status).toBe(404);
});

test('the description of the API has every route, and every route is there', async () => {
  const { call } = await start();
  const { openapi, paths } = await json(await call('/openapi.json'));
  expect(openapi).toBe('3.1.0');
  for (const { method, path } of documentedOperations) {
    expect(paths[path][method].responses[200]).toBeDefined();
    const url = path.replace('{index}', '0').replace(/\{\w+\}/, '0');
    const response = await call(url, { method: method.toUpperCase() });
    const isMissing = response.status === 404 && (await response.text()).includes('there is nothing at');
    expect([path, isMissing, response.status === 405]).toEqual([path, false, false]);
  }
});

test('each request is one line of the log, with its id', async () => {
  const lines: { [key: string]: unknown }[] = [];
  const { post } = await start({ log: (entry) => lines.push(entry) });
  await (await post(await grey(0), '', { 'x-request-id': 'abc' })).arrayBuffer();
  while (lines.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  expect(lines).toMatchObject([
    { level: 'info', requestId: 'abc', method: 'POST', path: '/v1/classify', status: 200, images: 1 },
  ]);
});

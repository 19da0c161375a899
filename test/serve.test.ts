import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDataset } from '../src/data/dataset.js';
import { examples } from '../src/data/examples.js';
import { jsonOf, kdSpec, schemaOf } from './fixtures/command-line.js';
import { bodyOf, classifyPng, servers } from './fixtures/server.js';
import { tinyFolder } from './fixtures/tiny-workspace.js';

/** `kd-spec serve` as a process, on the ensemble of a workspace. */
let folder: string;
let png: Buffer;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-serve-'));
  const { splits } = await openDataset(join(tinyFolder(), 'kd-workspace', 'dataset'));
  for await (const { bytes } of examples(splits.test)) {
    png = Buffer.from(bytes);
    break;
  }
  await writeFile(join(folder, 'image.png'), png);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const tiny = join(tinyFolder(), 'kd-workspace');
const start = servers();
const serve = (words: readonly string[]) => start(['--workspace', tiny, ...words], folder);

describe('a server, to its end', () => {
  let server: Awaited<ReturnType<typeof serve>>;
  beforeAll(async () => {
    server = await serve(['--corrections', join(folder, 'corrections')]);
  });

  test('an image is classified as infer does it, in the published shape; the workspace shows its images', async () => {
    const { call } = server;
    const response = await call('/v1/classify?top=4', { ...classifyPng, body: png });
    expect(response.status).toBe(200);
    const found = await bodyOf(response);
    expect((await schemaOf('infer')).parse(found)).toEqual(found);
    const words = ['infer', 'image.png', '--top', '4', '--json', '--workspace', tiny];
    const [inferred] = jsonOf(await kdSpec(words, { folder })).images;
    expect(found.images).toEqual([{ ...inferred, path: '-' }]);

    const traced = await bodyOf(await call('/v1/classify?top=1&trace=true', { ...classifyPng, body: png }));
    const [{ moved, specialists }] = traced.images;
    for (const { trace } of specialists) {
      expect(trace.classes).toBeGreaterThan(1);
      for (const mass of [trace.mass.generalist, trace.mass.ensemble]) {
        expect(mass).toBeGreaterThan(0);
        expect(mass).toBeLessThanOrEqual(1.000001);
      }
    }
    const changes = moved.map(({ generalist, ensemble }: { generalist: number; ensemble: number }) =>
      Math.abs(generalist - ensemble),
    );
    expect(changes).toEqual([...changes].sort((a, b) => b - a));
    const only = await bodyOf(await call('/v1/classify?show=ensemble', { ...classifyPng, body: png }));
    expect(Object.keys(only.images[0])).toEqual(['path', 'ensemble']);
    expect(only.images[0].ensemble[0]).toEqual(inferred.ensemble[0]);

    const { count, images } = await bodyOf(await call('/v1/test-images?limit=1'));
    expect(count).toBeGreaterThan(100);
    const shown = await call(`/v1/test-images/${images[0].row}`);
    expect(shown.headers.get('content-type')).toBe('image/png');
    expect(Buffer.from(await shown.arrayBuffer())).toEqual(png);
    const { examples: count2 } = await bodyOf(await call(`/v1/classes/${images[0].index}`));
    expect(count2).toBeGreaterThan(0);
    const example = await call(`/v1/classes/${images[0].index}/examples/${count2 - 1}`);
    expect(
      Buffer.from(await example.arrayBuffer())
        .subarray(1, 4)
        .toString(),
    ).toBe('PNG');
    const all = await bodyOf(await call('/v1/specialists'));
    expect(all.count).toBe(3);
    const kept = all.specialists.filter(({ isKept }: { isKept: boolean }) => isKept);
    expect(await bodyOf(await call('/v1'))).toMatchObject({ specialists: kept.length });
    const settings = JSON.parse(await readFile(join(tiny, 'ensemble', 'ensemble.json'), 'utf8'));
    expect(all.specialists.map(({ isKept }: { isKept: boolean }) => isKept)).toEqual(
      settings.specialists.map(({ kept: isKept }: { kept: boolean }) => isKept),
    );
    const one = await bodyOf(await call(`/v1/specialists/${all.specialists[0].id}`));
    expect(one.classes).toHaveLength(all.specialists[0].size);
  });

  test('a correction of a class that no folder can be named after is read by dataset under that name', async () => {
    const { call } = server;
    for (const [index, body] of [png, Buffer.concat([png, Buffer.of(0)])].entries())
      expect((await call(`/v1/corrections?index=${index}`, { ...classifyPng, body })).status).toBe(200);
    const source = join(folder, 'corrections');
    const words = ['--workspace', 'corrected'];
    const made = await kdSpec(['dataset', '--source', source, '--image-size', '8', ...words], { folder });
    expect(made.code).toBe(0);
    expect(await readFile(join(folder, 'corrected', 'dataset', 'classes.txt'), 'utf8')).toBe(
      'f0/c00\nf0/c01\n',
    );
  });

  test('SIGTERM lets a request that is under way end, and the process ends with 0', async () => {
    const { child, finished, url } = server;
    const { port } = new URL(url);
    const socket = connect(Number(port), '127.0.0.1');
    const answer = new Promise<string>((resolve) => {
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
      });
      socket.on('close', () => resolve(text));
    });
    const head = `POST /v1/classify?top=1 HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/png\r\ncontent-length: ${png.length}\r\n\r\n`;
    socket.write(Buffer.concat([Buffer.from(head), png.subarray(0, 10)]));
    await new Promise((resolve) => setTimeout(resolve, 200));
    child.kill('SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 200));
    await expect(fetch(url)).rejects.toThrow();
    socket.write(png.subarray(10));
    expect(await answer).toMatch(/^HTTP\/1\.1 200 OK/);
    const { code, stderr } = await finished;
    expect(code).toBe(0);
    const lines = stderr.split('\n').filter((line) => line.startsWith('{'));
    expect(lines.map((line) => JSON.parse(line).message)).toContain('closed');
  });
});

test('other machines are served with a token alone', async () => {
  const words = ['serve', '--port', '0', '--workspace', tiny];
  const refused = await kdSpec([...words, '--host', '0.0.0.0'], { folder });
  expect(refused).toMatchObject({ code: 2, stdout: '' });
  expect(refused.stderr).toMatch(/--token-file/);
  await writeFile(join(folder, 'short.txt'), 'secret\n');
  expect(await kdSpec([...words, '--token-file', 'short.txt'], { folder })).toMatchObject({ code: 2 });

  await writeFile(join(folder, 'token.txt'), `${'a1'.repeat(16)}\n${'b2'.repeat(16)}\n`);
  const { call } = await serve(['--host', '0.0.0.0', '--token-file', 'token.txt']);
  expect((await call('/v1')).status).toBe(401);
  const headers = { authorization: `Bearer ${'b2'.repeat(16)}` };
  expect((await call('/v1', { headers })).status).toBe(200);
});

test('a workspace without an ensemble, and a model that is none, are told', async () => {
  const empty = await kdSpec(['serve', '--workspace', join(folder, 'nothing')], { folder });
  expect(empty).toMatchObject({ code: 1, stdout: '' });
  expect(empty.stderr).toMatch(/kd-spec (run|calibrate)/);
  const none = await kdSpec(['serve', '--model', 'image.png'], { folder });
  expect(none.code).toBe(1);
  expect(none.stderr).toContain('image.png');
  await cp(join(tiny, 'ensemble'), join(folder, 'part', 'ensemble'), {
    recursive: true,
  });
  const part = await kdSpec(['serve', '--workspace', join(folder, 'part')], { folder });
  expect(part.code).toBe(1);
});

import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import type { Browser } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { selectBackend } from '../../src/compute/backend.js';
import { decodeImage } from '../../src/data/image-codec.js';
import { exportOnnx, modelBytes } from '../../src/ensemble/export/export-onnx.js';
import { writeWebFolder } from '../../src/ensemble/export/web-folder.js';
import { startChromium } from '../support/chromium.js';
import { type ExportedCase, exportedCases, referenceOf } from '../support/exported-ensembles.js';
import { dropOn, overflow, violations } from '../support/page-checks.js';
import { testSetCases } from '../support/test-set-ensembles.js';

/** A page that was exported, behind the plainest server of static files, and exported models in onnxruntime-web. */
let folder: string;
let cases: readonly ExportedCase[];
let server: Server;
let url: string;
let browser: Browser;

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.json': 'application/json',
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-web-'));
  cases = await exportedCases((await selectBackend('wasm')).operations, join(folder, 'sources'));
  const [{ ensemble }] = cases;
  const { generalist, specialistNetworks: specialists, settings, classes } = ensemble;
  const page = await exportOnnx({ generalist, specialists, settings, classes }, { withPreprocessing: true });
  await writeWebFolder(join(folder, 'page'), page, { classes, title: 'Which of 10 <classes>?' });
  for (const one of cases) {
    await writeFile(join(folder, 'page', `${one.name}.onnx`), modelBytes(one.model));
    await writeFile(join(folder, 'page', `${one.name}.json`), JSON.stringify(await referenceOf(one)));
  }
  server = createServer(({ url: path = '/' }, response) => {
    const name = normalize(path === '/' ? '/index.html' : path);
    response.setHeader('content-type', types[extname(name)] ?? 'application/octet-stream');
    createReadStream(join(folder, 'page', name))
      .on('error', () => response.writeHead(404).end())
      .pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  browser = await startChromium();
});
afterAll(async () => {
  await browser?.close();
  server?.close();
  for (const { ensemble } of cases ?? []) ensemble.dispose();
  await rm(folder, { recursive: true, force: true });
});

test('the exported page classifies an image that is given to it, and asks nobody else', async () => {
  const page = await browser.newPage();
  const errors: string[] = [];
  const asked: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('request', (request) => asked.push(request.url()));
  await page.goto(url);
  await page.getByText('10 classes. Ready.').waitFor();
  expect(await page.title()).toBe('Which of 10 <classes>?');
  const pixels = Uint8Array.from({ length: 64 }, (_, at) => (at * 37) % 256);
  const png = await sharp(pixels, { raw: { width: 8, height: 8, channels: 1 } })
    .png()
    .toBuffer();
  await page.setInputFiles('input[type=file]', { name: 'image.png', mimeType: 'image/png', buffer: png });
  await page.getByText(/^Classified in/).waitFor();
  const [first] = await page.locator('tbody tr').all();
  const [{ ensemble }] = cases;
  const images = Float32Array.from(pixels, (value) => value / 255);
  const [expected] = await ensemble.trace({ images, count: 1 });
  const [fused, share, generalist] = await first.locator('td').allTextContents();
  const best = (values: Float32Array) => values.indexOf(Math.max(...values));
  expect(fused).toBe(ensemble.classes[best(expected.ensemble)]);
  expect(generalist).toBe(ensemble.classes[best(expected.generalist)]);
  // The picture has the size that the model takes: nothing was scaled.
  expect(Number.parseFloat(share)).toBeCloseTo(100 * Math.max(...expected.ensemble), 0);
  expect(await page.locator('tbody tr').count()).toBe(5);

  await page.setInputFiles('input[type=file]', {
    name: 'a.txt',
    mimeType: 'text/plain',
    buffer: Buffer.from('no'),
  });
  await page.getByText(/^This did not work/).waitFor();
  expect(errors).toEqual([]);
  expect(asked.filter((one) => !one.startsWith(url) && !one.startsWith('data:'))).toEqual([]);
  await page.close();
});

test.each([
  [1180, 'light'],
  [390, 'dark'],
] as const)(
  'an image that is dropped is classified, %i pixels wide and %s, for everybody',
  async (width, colorScheme) => {
    const page = await browser.newPage({ viewport: { width, height: 860 }, colorScheme });
    await page.goto(url);
    await page.getByText('10 classes. Ready.').waitFor();
    expect(await violations(page)).toEqual([]);
    const picture = sharp({ create: { width: 40, height: 40, channels: 3, background: '#c83' } });
    const bytes = await picture.png().toBuffer();
    await dropOn(page, 'drop', { name: 'image.png', type: 'image/png', bytes });
    await page.getByText(/^Classified in/).waitFor();
    expect(await page.locator('tbody tr').count()).toBe(5);
    expect(await violations(page)).toEqual([]);
    expect(await overflow(page)).toBeLessThanOrEqual(0);
    const shots = process.env.TEST_SCREENSHOTS; // a folder, to look at them
    if (shots) await page.screenshot({ path: join(shots, `exported-${colorScheme}.png`) });
    await dropOn(page, 'drop', { name: 'a.txt', type: 'text/plain', bytes: Buffer.from('no') });
    await page.getByText(/^This did not work/).waitFor();
    await page.close();
  },
);

test.each([
  ['a large photo', 640, 427, 'jpeg'],
  ['a tall one', 90, 333, 'png'],
  ['one that is smaller than the model takes', 5, 6, 'png'],
] as const)(
  'the exported page sees %s as kd-spec does, in its size and in grey',
  async (_, width, height, format) => {
    const wave = (at: number, period: number) => 127 + 120 * Math.sin((2 * Math.PI * at) / period);
    const pixels = Uint8Array.from({ length: 3 * width * height }, (_, place) => {
      const [channel, x, y] = [place % 3, Math.floor(place / 3) % width, Math.floor(place / 3 / width)];
      return wave([x, y, x + y][channel], [0.7, 1.1, 1.3][channel] * Math.min(width, height));
    });
    const bytes = await sharp(pixels, { raw: { width, height, channels: 3 } })
      .toFormat(format, format === 'jpeg' ? { quality: 100, chromaSubsampling: '4:4:4' } : {})
      .toBuffer();
    const page = await browser.newPage();
    await page.goto(url);
    await page.getByText('10 classes. Ready.').waitFor();
    const mimeType = `image/${format}`;
    await page.setInputFiles('input[type=file]', { name: `image.${format}`, mimeType, buffer: bytes });
    await page.getByText(/^Classified in/).waitFor();
    const seen = (await page.evaluate(
      `Array.from(document.querySelector('canvas').getContext('2d').getImageData(0, 0, 8, 8).data)`,
    )) as readonly number[];
    const expected = await decodeImage(bytes, { height: 8, width: 8, channels: 1 });
    const differences = Array.from(expected, (value, at) => Math.abs(value - seen[4 * at]));
    expect(Math.max(...differences)).toBeLessThanOrEqual(3);
    await page.close();
  },
);

/** The largest difference of what onnxruntime-web predicts in a page to what each ensemble predicts. */
async function largestDifferences(names: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const page = await browser.newPage();
  await page.goto(url);
  const differences = await page.evaluate(
    `(async (names) => {
      const ort = await import('./ort.js');
      ort.env.wasm.wasmPaths = { wasm: new URL('./ort.wasm', location.href).href };
      ort.env.wasm.numThreads = 1;
      const found = {};
      for (const name of names) {
        const { input, output, batches } = await (await fetch('./' + name + '.json')).json();
        const session = await ort.InferenceSession.create('./' + name + '.onnx');
        let worst = 0;
        for (const { shape, data, expected } of batches) {
          const tensor = new ort.Tensor('float32', Float32Array.from(data), shape);
          const results = await session.run({ [input]: tensor }, [output]);
          const values = results[output].data;
          if (values.length !== expected.length) worst = Infinity;
          expected.forEach((value, at) => { worst = Math.max(worst, Math.abs(value - values[at])); });
        }
        found[name] = worst;
        await session.release();
      }
      return found;
    })(${JSON.stringify(names)})`,
  );
  await page.close();
  return new Map(Object.entries(differences ?? {}));
}

test('onnxruntime-web predicts with exported files what the ensembles predict, alone and in batches', async () => {
  const names = cases.map(({ name }) => name);
  const found = await largestDifferences(names);
  expect([...found.keys()]).toEqual(names);
  for (const [name, difference] of found) expect(difference, name).toBeLessThan(1e-4);
});

test('the same over the test images of pipelines that trained or imported their generalist', async () => {
  const made = await testSetCases(folder);
  try {
    for (const { name, model, reference } of made) {
      await writeFile(join(folder, 'page', `${name}.onnx`), modelBytes(model));
      await writeFile(join(folder, 'page', `${name}.json`), JSON.stringify(reference));
    }
    const names = made.map(({ name }) => name);
    const found = await largestDifferences(names);
    expect([...found.keys()]).toEqual(names);
    for (const { name, images } of made) {
      expect(images, name).toBeGreaterThan(64); // a batch of 64, and another
      expect(found.get(name), name).toBeLessThan(1e-4);
    }
  } finally {
    for (const { ensemble } of made) ensemble.dispose();
  }
});

import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openDataset } from '../../src/data/dataset.js';
import { examples } from '../../src/data/examples.js';
import { loadEnsemble } from '../../src/ensemble/load-ensemble.js';
import { type Running, startKdSpec } from '../fixtures/command-line.js';
import { tinyFolder } from '../fixtures/tiny-workspace.js';
import { startChromium } from '../support/chromium.js';
import { dropOn, overflow, transferOf, violations } from '../support/page-checks.js';

/** The page of a server that runs as a person starts it, in a real browser. */
const workspace = () => join(tinyFolder(), 'kd-workspace');
const token = 'a1'.repeat(16);

let folder: string;
let png: Buffer;
let predicted: string;
let browser: Browser;
let server: { readonly running: Running; readonly url: string };
let guarded: typeof server;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-browser-'));
  const { splits } = await openDataset(join(workspace(), 'dataset'));
  for await (const { bytes } of examples(splits.test)) {
    png = Buffer.from(bytes);
    break;
  }
  const ensemble = await loadEnsemble(workspace(), { backend: 'wasm' });
  const [{ ensemble: ranked }] = await ensemble.classify([png], { top: 1 });
  predicted = ranked[0].class;
  ensemble.dispose();
  await writeFile(join(folder, 'image.png'), png);
  await writeFile(join(folder, 'notes.txt'), 'A text that is no image.\n');
  await writeFile(join(folder, 'photo.jpg'), await sharp(png).resize(900, 600).jpeg().toBuffer());
  await writeFile(join(folder, 'token.txt'), token);
  server = await serve(['--corrections', join(folder, 'corrections')]);
  guarded = await serve(['--token-file', join(folder, 'token.txt')]);
  browser = await startChromium();
});
afterAll(async () => {
  await browser?.close();
  for (const { running } of [server, guarded]) running?.child.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

async function serve(words: readonly string[]) {
  const running = startKdSpec(['serve', '--port', '0', '--workspace', workspace(), ...words], { folder });
  const url = await new Promise<string>((resolve, reject) => {
    running.child.stdout?.on('data', (chunk) => resolve(String(chunk).trim()));
    void running.finished.then(({ stderr }) => reject(new Error(stderr)));
  });
  return { running, url };
}

const pages: Page[] = [];
afterEach(async () => {
  for (const page of pages.splice(0)) await page.context().close();
});

/** Opens a page; errors of its scripts, and what its policy forbids, fail the test. */
async function open(
  path = '',
  { width = 1280, dark = false, url = server.url }: { width?: number; dark?: boolean; url?: string } = {},
) {
  const context = await browser.newContext({
    viewport: { width, height: 800 },
    colorScheme: dark ? 'dark' : 'light',
  });
  const page = await context.newPage();
  pages.push(page);
  const problems: string[] = [];
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text()))
      problems.push(message.text());
  });
  await page.goto(new URL(path, url).href);
  return { page, problems, context };
}

const choose = (page: Page, name: string) => page.setInputFiles('#file', join(folder, name));

const fileOf = async (name: string, type: string) => ({
  name,
  type,
  bytes: await readFile(join(folder, name)),
});

const drop = async (page: Page, name: string, type: string) =>
  dropOn(page, 'stage', await fileOf(name, type));

async function paste(page: Page, name: string, type: string) {
  await page.evaluate(`{ ${transferOf(await fileOf(name, type))}
    document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true })); }`);
}

const verdict = (page: Page) => page.locator('.verdict h2 .what');

describe('an image', () => {
  test('that is dropped is predicted by both, with the specialists and how the mass moved', async () => {
    const { page, problems } = await open();
    await drop(page, 'image.png', 'image/png');
    await expect.poll(() => verdict(page).textContent(), { timeout: 30_000 }).toBe(predicted);
    expect(await page.locator('.generalist .bars li').count()).toBe(5);
    expect(await page.locator('.ensemble .bars li').count()).toBe(5);
    expect(await page.locator('.moves li').count()).toBeGreaterThan(0);
    expect(await page.locator('#status').textContent()).toContain(predicted);
    await expect.poll(() => page.locator('.examples img').count(), { timeout: 30_000 }).toBeGreaterThan(3);
    expect(await page.locator('.cards .dustbin').count()).toBe(await page.locator('.cards .card').count());
    expect(problems).toEqual([]);
  });

  test('that is dropped before the server has told of itself is predicted as any other', async () => {
    const { page, problems } = await open();
    await page.route('**/v1', async (route) => {
      await new Promise((resolve) => setTimeout(resolve, 1500));
      await route.continue();
    });
    await page.reload();
    await drop(page, 'image.png', 'image/png');
    await expect.poll(() => verdict(page).textContent(), { timeout: 30_000 }).toBe(predicted);
    expect(await page.locator('.moves li').count()).toBeGreaterThan(0);
    expect(problems).toEqual([]);
  });

  test('can be chosen and pasted; a photo is shown whole', async () => {
    const { page, problems } = await open();
    await choose(page, 'photo.jpg');
    await verdict(page).waitFor();
    await expect.poll(() => page.evaluate("document.querySelector('#picture img').naturalWidth")).toBe(900);
    await paste(page, 'image.png', 'image/png');
    await expect.poll(() => verdict(page).textContent(), { timeout: 30_000 }).toBe(predicted);
    expect(problems).toEqual([]);
  });

  test('of the test set is chosen by keyboard, and its class is known', async () => {
    const { page, problems } = await open();
    const first = page.locator('#strip button').first();
    await first.waitFor();
    await first.focus();
    await page.keyboard.press('Enter');
    await page.locator('.badge').waitFor();
    expect(await first.getAttribute('aria-pressed')).toBe('true');
    expect(new URL(page.url()).hash).toBe('#test-0');
    await page.locator('#later').click();
    await expect.poll(() => page.locator('#strip-place').textContent()).toMatch(/^13–24 of /);
    await page.reload();
    await page.locator('.badge').waitFor();
    expect(problems).toEqual([]);
  });
});

describe('what goes wrong is said', () => {
  test('a text file is no image', async () => {
    const { page, problems } = await open();
    await choose(page, 'image.png');
    await verdict(page).waitFor();
    await drop(page, 'notes.txt', 'text/plain');
    const alert = page.locator('#alert');
    await alert.waitFor();
    expect(await alert.textContent()).toMatch(/expected a PNG, JPEG.*notes\.txt/i);
    expect(await verdict(page).count()).toBe(0);
    await choose(page, 'image.png');
    await verdict(page).waitFor();
    expect(await alert.isVisible()).toBe(false);
    expect(problems).toEqual([]);
  });

  test('the network breaks, and comes back', async () => {
    const { page, context } = await open();
    await context.setOffline(true);
    await choose(page, 'image.png');
    await page.locator('#alert').waitFor();
    expect(await page.locator('#alert').textContent()).toContain('does not respond');
    await context.setOffline(false);
    await choose(page, 'image.png');
    await verdict(page).waitFor();
    expect(await page.locator('#alert').isVisible()).toBe(false);
  });

  test('a server that needs a token asks for it', async () => {
    const { page } = await open('', { url: guarded.url });
    await page.locator('#token-field').waitFor();
    await page.fill('#token-field', 'wrong');
    await page.keyboard.press('Enter');
    await expect.poll(() => page.locator('#token-field').isVisible()).toBe(true);
    await page.fill('#token-field', token);
    await page.keyboard.press('Enter');
    await expect.poll(() => page.locator('#facts').textContent()).toContain('60 classes');
    await choose(page, 'image.png');
    await expect.poll(() => verdict(page).textContent(), { timeout: 30_000 }).toBe(predicted);
  });
});

test('a correction names a class of the model, and is kept where no folder can have its name', async () => {
  const { page } = await open();
  await choose(page, 'image.png');
  await page.locator('#correction').waitFor();
  await page.fill('#correction-class', 'no such class');
  await page.keyboard.press('Enter');
  const problem = page.locator('#correction-problem');
  await expect.poll(() => problem.textContent()).toContain('no class “no such class”');
  await page.fill('#correction-class', 'c00');
  await expect.poll(() => page.locator('#class-names option').first().getAttribute('value')).toBe('f0/c00');
  await page.fill('#correction-class', 'f0/c00');
  await page.locator('#correction button').click();
  await expect.poll(() => page.locator('#status').textContent()).toContain('Kept as f0/c00');
  const [kept] = (await readdir(join(folder, 'corrections'))).filter((name) => !name.startsWith('.'));
  expect(await readFile(join(folder, 'corrections', kept, '.class-name'), 'utf8')).toBe('f0/c00\n');
});

test('the page of the API sends a request and shows what comes', async () => {
  const { page, problems } = await open('/api');
  const operation = page.locator('details').filter({ hasText: '/v1/classify' });
  await operation.locator('summary').click();
  await operation.locator('input[name=top]').fill('1');
  await operation.locator('input[type=file]').setInputFiles(join(folder, 'image.png'));
  expect(await operation.locator('.command').textContent()).toContain('-F image=@image.png');
  await operation.locator('button').click();
  await expect
    .poll(() => operation.locator('.response').textContent(), { timeout: 30_000 })
    .toContain(predicted);
  expect(await operation.locator('[role=status]').textContent()).toMatch(/^200 /);
  expect(await violations(page)).toEqual([]);
  expect(problems).toEqual([]);
});

describe.each([
  [320, false],
  [320, true],
  [390, false],
  [1280, true],
  [1280, false],
])('%i pixels wide, dark: %s', (width, dark) => {
  test('nothing overflows, and axe finds nothing, before and after a prediction', async () => {
    const { page } = await open('', { width, dark });
    await expect.poll(() => page.locator('#strip img').count(), { timeout: 30_000 }).toBe(12);
    expect(await violations(page)).toEqual([]);
    expect(await overflow(page)).toBeLessThanOrEqual(0);
    await page.locator('#strip button').first().click();
    await page.locator('.examples img').last().waitFor();
    expect(await violations(page)).toEqual([]);
    expect(await overflow(page)).toBeLessThanOrEqual(0);
    const background = await page.evaluate('getComputedStyle(document.body).backgroundColor');
    expect(background).toBe(dark ? 'rgb(20, 24, 28)' : 'rgb(255, 255, 255)');
  });
});

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import axe from 'axe-core';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ReportDetails } from '../../src/evaluation/report-details.js';
import { renderReportPage } from '../../src/evaluation/report-page.js';
import { tinyFolder } from '../fixtures/tiny-workspace.js';
import { startChromium } from '../support/chromium.js';

/** The page of a report in a real browser: that of the tiny workspace, and the same with very many classes. */
let folder: string;
let browser: Browser;
const paths: Record<'tiny' | 'many', string> = { tiny: '', many: '' };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-report-'));
  const report = join(tinyFolder(), 'kd-workspace', 'report');
  paths.tiny = join(report, 'index.html');
  const read = async (name: string) => JSON.parse(await readFile(join(report, name), 'utf8'));
  paths.many = join(folder, 'many.html');
  await writeFile(
    paths.many,
    renderReportPage(await read('report.json'), withClasses(await read('details.json'), 15_000)),
  );
  browser = await startChromium();
});
afterAll(async () => {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
});

/** The same details with further classes, in further subsets, each taken for its neighbour. */
function withClasses(details: ReportDetails, classes: number): ReportDetails {
  const [first] = details.specialists;
  const labels = Array.from({ length: classes }, (_, label) => label);
  return {
    ...details,
    classes: labels.map((label) => `class of a rather long name ${label}`),
    counts: { images: labels.map(() => 4), generalist: labels.map(() => 2), ensemble: labels.map(() => 3) },
    confusions: labels.map((label) => [label, (label + 1) % classes, 1 + (label % 3), 1]),
    specialists: Array.from({ length: 60 }, (_, id) => ({
      ...first,
      id,
      classes: labels.slice((id * classes) / 60, ((id + 1) * classes) / 60),
    })),
  };
}

async function open(path: string, { width = 1280, dark = false } = {}) {
  const context = await browser.newContext({
    viewport: { width, height: 900 },
    colorScheme: dark ? 'dark' : 'light',
  });
  const page = await context.newPage();
  const problems: string[] = [];
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('console', (message) => problems.push(message.text()));
  page.on('request', (request) => {
    if (!/^(file|data):/.test(request.url())) problems.push(request.url());
  });
  await page.goto(pathToFileURL(path).href);
  return { page, problems, [Symbol.asyncDispose]: () => context.close() };
}

describe.each(['tiny', 'many'] as const)('the page of a report, %s', (name) => {
  test.each([
    [320, false],
    [390, true],
    [1600, false],
  ])('%i pixels wide fits, asks nobody, and axe finds nothing', async (width, dark) => {
    await using opened = await open(paths[name], { width, dark });
    const { page, problems } = opened;
    expect(
      await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth'),
    ).toBe(0);
    await page.evaluate(axe.source);
    const { violations } = (await page.evaluate('axe.run(document)')) as {
      violations: { id: string; nodes: { html: string }[] }[];
    };
    expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 200)}`)).toEqual([]);
    expect(problems).toEqual([]);
  });
});

test('classes are searched and paged, and a pair is found on the map', async () => {
  await using opened = await open(paths.many);
  const { page, problems } = opened;
  const list = page.locator('#class-list');
  await expect.poll(() => list.locator('[role=status]').textContent()).toBe('1 to 20 of 15,000 classes');
  await list.getByRole('button', { name: 'Next' }).click();
  expect(await list.locator('[role=status]').textContent()).toBe('21 to 40 of 15,000 classes');
  await list.getByRole('searchbox').fill('NAME 14999');
  expect(await list.locator('tbody tr').count()).toBe(1);
  expect(await list.locator('tbody tr').textContent()).toContain('+25%');
  await list.getByRole('searchbox').fill('nothing of that name');
  expect(await list.textContent()).toContain('Nothing found');

  await page.locator('#pair-list').getByRole('searchbox').fill('name 7777');
  await page.locator('#pair-list').getByRole('button', { name: 'map' }).first().click();
  expect(await page.locator('#map-detail').textContent()).toMatch(/name 777[678].*taken for.*name 777[78]/);
  await page.locator('#specialist-list').getByRole('searchbox').fill('41');
  expect(await page.locator('#specialist-list article').count()).toBe(1);
  expect(problems).toEqual([]);
});

test('the map draws what was confused, zooms and moves by keys', async () => {
  await using opened = await open(paths.tiny);
  const { page } = opened;
  const drawn = () => page.evaluate("document.getElementById('map-canvas').toDataURL()");
  const whole = await drawn();
  await page.locator('#map-canvas').focus();
  await page.keyboard.press('+');
  const near = await drawn();
  expect(near).not.toBe(whole);
  await page.keyboard.press('0');
  expect(await drawn()).toBe(whole);
  await page.getByRole('button', { name: 'Change' }).click();
  expect(await page.getByRole('button', { name: 'Change' }).getAttribute('aria-pressed')).toBe('true');
});

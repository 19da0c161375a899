/**
 * Draws the README's pictures of the server's page from a finished quickstart:  npm run screenshots
 *
 *     scripts/browser-test.sh installs Chromium; characters need a font with them, such as Debian's fonts-wqy-zenhei.
 *
 * Shown is the first test image that the generalist gets wrong and the ensemble gets right, with a specialist queried.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { packageFolder } from '../src/core/package.js';
import type { ClassifyMessage, TestImagesMessage } from '../src/serving/messages.js';
import { startChromium } from '../test/support/chromium.js';

const { values } = parseArgs({
  options: { workspace: { type: 'string', default: 'kd-workspace' } },
});
const folder = join(packageFolder(), 'docs', 'images');

/** The row of the image to show. */
async function findRow(url: string): Promise<number> {
  const get = (path: string) => fetch(new URL(path, url));
  const { images }: TestImagesMessage = JSON.parse(await (await get('/v1/test-images?limit=1000')).text());
  for (const { row, index } of images) {
    const body = await (await get(`/v1/test-images/${row}`)).arrayBuffer();
    const headers = { 'content-type': 'image/png' };
    const response = await fetch(new URL('/v1/classify?top=1', url), { method: 'POST', body, headers });
    const found: ClassifyMessage = JSON.parse(await response.text());
    const [{ generalist, ensemble, specialists }] = found.images;
    const isFixed = generalist?.[0].index !== index && ensemble?.[0].index === index;
    if (isFixed && specialists?.length) return row;
  }
  throw new Error('the ensemble corrects none of these images: give another --workspace');
}

const program = join(packageFolder(), 'dist', 'cli', 'main.js');
const words = ['serve', '--port', '0', '--workspace', values.workspace, '--quiet'];
const server = spawn(process.execPath, [program, ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
const browser = await startChromium();
try {
  const [chunk] = await once(server.stdout, 'data');
  const url = String(chunk).trim();
  const row = await findRow(url);
  mkdirSync(folder, { recursive: true });
  for (const { name, width, height, scheme } of [
    { name: 'page-light', width: 1180, height: 860, scheme: 'light' },
    { name: 'page-dark', width: 390, height: 860, scheme: 'dark' },
  ] as const) {
    const page = await browser.newPage({
      viewport: { width, height },
      colorScheme: scheme,
      deviceScaleFactor: 2,
    });
    await page.goto(`${url}#test-${row}`);
    await page.locator('.examples img').last().waitFor();
    await page.waitForTimeout(1500); // pictures and transitions
    const shot = await page.screenshot();
    await sharp(shot)
      .png({ palette: true, colours: 128, effort: 10 })
      .toFile(join(folder, `${name}.png`));
  }
} finally {
  await browser.close();
  server.kill('SIGTERM');
}

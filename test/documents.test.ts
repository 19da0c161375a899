import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { packageFolder } from '../src/core/package.js';

const root = packageFolder();
const folders = [
  '.',
  'docs',
  'docs/results',
  'docs/results/specialists',
  'datasets/han',
  'datasets/jft-like',
  'datasets/speech',
  'scripts',
];

/** The text of every document, by its path. */
async function documents(): Promise<ReadonlyMap<string, string>> {
  const texts = new Map<string, string>();
  for (const folder of folders) {
    for (const name of await readdir(join(root, folder))) {
      const path = join(folder, name);
      if (name.endsWith('.md')) texts.set(path, await readFile(join(root, path), 'utf8'));
    }
  }
  return texts;
}

/** What a pattern finds of which there is no file or folder: `page: what`. */
async function missing(pattern: RegExp, place: (page: string, found: string) => string): Promise<string[]> {
  return [...(await documents())].flatMap(([page, text]) =>
    [...text.matchAll(pattern)]
      .map(([, found]) => found)
      .filter((found) => !existsSync(place(page, found)))
      .map((found) => `${page}: ${found}`),
  );
}

test('documents name files and folders that exist', async () => {
  const paths = /`((?:src|test|scripts|docs|pipelines|datasets)\/[\w./-]*\w\/?)`/g;
  expect(await missing(paths, (_, path) => join(root, path))).toEqual([]);
});

test('documents link to pages that exist', async () => {
  const links = /\]\((?!https?:|#)([^)\s#]+)/g;
  expect(await missing(links, (page, target) => join(root, dirname(page), target))).toEqual([]);
});

test('docs/index.md leads to every page', async () => {
  const texts = await documents();
  const linked = [...(texts.get('docs/index.md') ?? '').matchAll(/\]\(([^)\s#]+)/g)].map(([, to]) =>
    join('docs', to),
  );
  const pages = [...texts.keys()].filter((path) => path.startsWith('docs/') && path !== 'docs/index.md');
  expect(pages.filter((path) => !linked.includes(path))).toEqual([]);
});

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { referencePage } from '../scripts/reference.js';
import { errorCodes } from '../src/core/errors.js';
import { packageFolder } from '../src/core/package.js';
import { listedOptions } from '../src/pipeline/option-list.js';

const page = (name: string) => readFile(join(packageFolder(), 'docs', name), 'utf8');

test('docs/errors.md has every code with its meaning, and advice of its own that names what there is', async () => {
  const rows = [...(await page('errors.md')).matchAll(/^\| `([a-z-]+)` \| (.+?) \| (.+) \|$/gm)];
  expect(rows.map(([, code, meaning]) => [code, meaning])).toEqual(Object.entries(errorCodes));
  const flags = new Set(['help', ...listedOptions.map(({ flag }) => flag)]);
  for (const [, code, meaning, advice] of rows) {
    expect(advice, code).toMatch(/^[A-Z`].*\.$/);
    expect(advice, code).not.toBe(meaning);
    for (const [, flag] of advice.matchAll(/`--([a-z-]+)/g)) expect(flags, code).toContain(flag);
    for (const [, name] of advice.matchAll(/\]\(([^)#]+)/g)) expect(await page(name), code).not.toBe('');
  }
});

test('docs/reference.md is what the table of options gives: npx tsx scripts/reference.ts', async () => {
  expect(await page('reference.md')).toBe(referencePage());
});

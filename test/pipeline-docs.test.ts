import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { referencePage } from '../scripts/reference.js';
import { errorCodes } from '../src/core/errors.js';
import { packageFolder } from '../src/core/package.js';

const page = (name: string) => readFile(join(packageFolder(), 'docs', name), 'utf8');

test('docs/errors.md has every code with its meaning, and what to do', async () => {
  const rows = [...(await page('errors.md')).matchAll(/^\| `([a-z-]+)` \| (.+?) \| (.+) \|$/gm)];
  expect(rows.map(([, code, meaning]) => [code, meaning])).toEqual(Object.entries(errorCodes));
  for (const [, , , advice] of rows) expect(advice?.length).toBeGreaterThan(10);
});

test('docs/reference.md is what the table of options gives: npx tsx scripts/reference.ts', async () => {
  expect(await page('reference.md')).toBe(referencePage());
});

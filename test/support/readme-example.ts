import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageFolder } from '../../src/core/package.js';

/** The first block of TypeScript in the README: the library's example. */
export async function readmeExample(): Promise<string> {
  const readme = await readFile(join(packageFolder(), 'README.md'), 'utf8');
  const code = /^```ts\n([\s\S]*?)^```$/m.exec(readme)?.[1];
  if (code === undefined) throw new Error('the README has no example of the library');
  return code;
}

import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packageFolder } from '../src/core/package.js';
import { openDataset } from '../src/data/dataset.js';
import { examples } from '../src/data/examples.js';
import { expectNoWarnings, jsonOf, kdSpec, startProgram } from './fixtures/command-line.js';
import { tinyFolder } from './fixtures/tiny-workspace.js';
import { readmeExample } from './support/readme-example.js';

let project: string;
beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'kd-spec-library-'));
  await mkdir(join(project, 'node_modules'));
  await symlink(packageFolder(), join(project, 'node_modules', 'kd-spec'));
  await writeFile(join(project, 'package.json'), '{ "type": "module" }\n');
});
afterAll(() => rm(project, { recursive: true, force: true }));

/** Puts a workspace where the program looks for it, and a picture wherever it names one. */
async function supply(text: string): Promise<string[]> {
  const workspace = join(tinyFolder(), 'kd-workspace');
  const named = /loadEnsemble\(\s*['"]([^'"]+)['"]/.exec(text)?.[1];
  expect(named, 'the example names a workspace').toBeDefined();
  await symlink(workspace, join(project, named ?? ''));
  const { splits } = await openDataset(join(workspace, 'dataset'));
  const pictures = [...text.matchAll(/['"]([^'"]+\.(?:png|jpe?g|webp))['"]/g)].map(([, path]) => path);
  expect(pictures.length, 'the example names a picture').toBeGreaterThan(0);
  for await (const { bytes } of examples(splits.test)) {
    for (const path of pictures) {
      await mkdir(dirname(join(project, path)), { recursive: true });
      await writeFile(join(project, path), bytes);
    }
    break;
  }
  return pictures;
}

// That it fits the types: docstring-examples.test.ts.
test('the example of the README has no more than a few lines, and says what the command says', async () => {
  const text = await readmeExample();
  expect(
    text
      .trim()
      .split('\n')
      .filter((line) => line.trim() !== '').length,
  ).toBeLessThanOrEqual(8);
  const [picture] = await supply(text);
  const { outputText } = ts.transpileModule(text, {
    compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ES2022 },
  });
  await writeFile(join(project, 'example.js'), outputText);

  const ended = await startProgram([join(project, 'example.js')], { folder: project }).finished;
  expectNoWarnings(ended);
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  const { images } = jsonOf(
    await kdSpec(['infer', picture, '--json'], { folder: await tinyFolderWith(picture) }),
  );
  expect(ended.stdout).toContain(images[0].ensemble[0].class);
});

/** A folder from which the command sees the tiny workspace and the picture. */
async function tinyFolderWith(picture: string): Promise<string> {
  const place = join(project, 'kd-workspace');
  if (!existsSync(place)) await symlink(join(tinyFolder(), 'kd-workspace'), place);
  expect(existsSync(join(project, picture))).toBe(true);
  return project;
}

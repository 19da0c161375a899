import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packageFolder } from '../src/core/package.js';
import { openDataset } from '../src/data/dataset.js';
import { examples } from '../src/data/examples.js';
import { expectNoWarnings, jsonOf, kdSpec, startProgram } from './fixtures/command-line.js';
import { tinyFolder } from './fixtures/tiny-workspace.js';

/** The example of the README, run in a project that has installed kd-spec, so that the two cannot drift apart. */
const example = `
import { loadEnsemble } from 'kd-spec';
const ensemble = await loadEnsemble('kd-workspace');
const [answer] = await ensemble.classify(['x.png']);
console.log(answer.ensemble[0].class);
ensemble.dispose();
`;

let project: string;
beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'kd-spec-library-'));
  await mkdir(join(project, 'node_modules'));
  await symlink(packageFolder(), join(project, 'node_modules', 'kd-spec'));
  await symlink(join(packageFolder(), 'node_modules', '@types'), join(project, 'node_modules', '@types'));
  await writeFile(join(project, 'package.json'), '{ "type": "module" }\n');
});
afterAll(() => rm(project, { recursive: true, force: true }));

/** The first block of TypeScript in the README; what it is to be as long as there is none. */
async function readmeExample(): Promise<string> {
  const path = join(packageFolder(), 'README.md');
  const readme = existsSync(path) ? await readFile(path, 'utf8') : '';
  return /^```ts\n([\s\S]*?)^```$/m.exec(readme)?.[1] ?? example;
}

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

test('the example has no more than a few lines, fits the types, and says what the command says', async () => {
  const text = await readmeExample();
  expect(
    text
      .trim()
      .split('\n')
      .filter((line) => line.trim() !== '').length,
  ).toBeLessThanOrEqual(8);
  const [picture] = await supply(text);
  const source = join(project, 'example.ts');
  await writeFile(source, text);
  const compilation = ts.createProgram([source], {
    strict: true,
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    skipLibCheck: true,
    types: ['node'],
    typeRoots: [join(project, 'node_modules', '@types')],
  });
  const complaints = ts.getPreEmitDiagnostics(compilation);
  expect(complaints.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))).toEqual([]);
  compilation.emit();

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

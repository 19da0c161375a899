import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { commands } from '../src/cli/commands.js';
import { completionScript } from '../src/cli/completion.js';
import { describeCommand, examples } from '../src/cli/help.js';
import { chosenSize } from '../src/cli/init-pipeline.js';
import { outputSchemas } from '../src/cli/output-schemas.js';
import { runProgram } from '../src/cli/program.js';
import { createRandom } from '../src/core/random.js';
import { fuse } from '../src/index.js';
import { colourModel, writePictures } from './support/colour-model.js';

const exec = promisify(execFile);
const modules = commands({
  env: {},
  folder: '.',
  stdout: process.stdout,
  stderr: process.stderr,
  signal: new AbortController().signal,
});
const described = modules.map(describeCommand);

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-help-'));
  return () => rm(folder, { recursive: true, force: true });
});

async function run(...words: readonly string[]) {
  const result = { stdout: '', stderr: '' };
  const into = (name: 'stdout' | 'stderr') =>
    new Writable({
      write: (chunk, _encoding, done) => {
        result[name] += chunk;
        done();
      },
    });
  const code = await runProgram(words, { env: {}, folder, stdout: into('stdout'), stderr: into('stderr') });
  return { code, ...result };
}

describe('help', () => {
  test('lists --dry-run for the commands that run stages alone', () => {
    const planning = described.filter(({ options }) => options.some(([flag]) => flag === 'dry-run'));
    const others = described.filter((command) => !planning.includes(command)).map(({ name }) => name);
    expect(others.sort()).toEqual(
      ['completion', 'doctor', 'export', 'fuse', 'infer', 'init', 'jobs', 'serve', 'show', 'status'].sort(),
    );
  });

  test('loads what it prints and no more: neither a backend nor Arrow, images, YAML or schemas', async () => {
    const built = new URL('../dist/', import.meta.url);
    const own = new Set<string>();
    const packages = new Set<string>();
    const visit = async (module: URL): Promise<void> => {
      if (own.has(module.href)) return;
      own.add(module.href);
      const code = await readFile(module, 'utf8');
      for (const [, name] of code.matchAll(/^(?:import|export)\s(?:[^;'"]*?\sfrom\s)?['"]([^'"]+)['"]/gm)) {
        if (name.startsWith('.')) await visit(new URL(name, module));
        else if (!name.startsWith('node:')) packages.add(name);
      }
    };
    await visit(new URL('cli/main.js', built));
    expect([...packages].sort()).toEqual(['string-width', 'yargs']);
    expect(own.size).toBeLessThan(80);
  });

  test.each(described.map(({ name }) => name))(
    'of %s fits a screen, and says all with --help=all',
    async (name) => {
      const short = await run(name, '--help');
      expect({ code: short.code, stderr: short.stderr }).toEqual({ code: 0, stderr: '' });
      expect(short.stdout.split('\n').length).toBeLessThanOrEqual(50);
      for (const line of short.stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(110);
      expect((await run('help', name)).stdout).toBe(short.stdout);
      expect((await run(name, '-h')).stdout).toBe(short.stdout);
      const { stdout } = await run(name, '--help=all');
      for (const [flag] of described.find((command) => command.name === name)?.options ?? [])
        expect(stdout, flag).toMatch(RegExp(`^  --${flag}( |$)`, 'm'));
    },
  );

  test('lists every command once', async () => {
    const { stdout } = await run('--help');
    expect((await run('help')).stdout).toBe(stdout);
    for (const { name } of described) expect(stdout.match(RegExp(`^  ${name} `, 'gm')), name).toHaveLength(1);
    expect((await run('-V')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test.each(Object.entries(examples).flatMap(([name, lines]) => lines.map(([words]) => [name, words])))(
    'the example of %s is a command line that there is: %s',
    (name, words) => {
      const own = described.find((command) => command.name === name);
      const flags = [...words.matchAll(/ --([a-z-]+)/g)].map(([, flag]) => flag);
      expect(own?.options.map(([flag]) => flag)).toEqual(expect.arrayContaining(flags));
    },
  );
});

test('fuse reads distributions line by line, as the library fuses them, and names the line that is wrong', async () => {
  const line = {
    generalist: [0.5, 0.3, 0.2],
    specialists: [{ classes: [0, 1], probabilities: [0.1, 0.7, 0.2] }],
  };
  await writeFile(
    join(folder, 'stored.jsonl'),
    `${JSON.stringify(line)}\n\n${JSON.stringify({ ...line, specialists: [] })}\n`,
  );
  const { code, stdout } = await run('fuse', 'stored.jsonl', '--json');
  expect(code).toBe(0);
  const { results } = JSON.parse(stdout);
  const [first] = line.specialists;
  const { probabilities } = fuse(Float64Array.from(line.generalist), [
    { classes: Int32Array.from(first.classes), probabilities: Float64Array.from(first.probabilities) },
  ]);
  expect(results[0].probabilities).toEqual([...probabilities]);
  expect(results[1].probabilities).toEqual([0.5, 0.3, 0.2].map((value) => expect.closeTo(value, 9)));
  expect(outputSchemas.fuse.parse(JSON.parse(stdout))).toEqual({ results });
  await writeFile(join(folder, 'wrong.jsonl'), `${JSON.stringify(line)}\n{"generalist": [1]}\n`);
  expect(await run('fuse', 'wrong.jsonl')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('wrong.jsonl:2'),
  });
});

test('in an empty folder kd-spec alone tells how to begin', async () => {
  const { code, stdout } = await run();
  expect(code).toBe(0);
  for (const words of ['init --source', 'run --onnx', 'run --source']) expect(stdout).toContain(words);
  expect(JSON.parse((await run('--json')).stdout)).toMatchObject({ stages: [] });
});

describe('completion', () => {
  test('in bash gives commands, the options of a command, and the values of an option', async () => {
    const script = join(folder, 'completion.bash');
    await writeFile(script, completionScript('bash', modules));
    const complete = async (...words: readonly string[]) => {
      const program = `source "$1"; shift; COMP_WORDS=(kd-spec "$@"); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _kd_spec; printf '%s\\n' "\${COMPREPLY[@]}"`;
      const { stdout } = await exec('bash', ['-c', program, 'bash', script, ...words]);
      return stdout.trim().split('\n');
    };
    expect(await complete('train-')).toEqual(['train-generalist', 'train-specialists']);
    expect(await complete('cluster', '--clus')).toEqual(['--clusters', '--cluster-epochs']);
    expect(await complete('cluster', '--affinity', '')).toEqual(['covariance', 'confusion']);
    expect(await complete('jobs', 'f')).toEqual(['follow']);
    expect(await complete('infer', '--clus')).toEqual(['']);
  });

  test.each(['zsh', 'fish'])('in %s names every command', (shell) => {
    const script = completionScript(shell, modules);
    for (const { name } of described) expect(script).toContain(name);
  });
});

describe('init', () => {
  let photos: string;
  beforeAll(async () => {
    photos = await mkdtemp(join(tmpdir(), 'kd-spec-photos-'));
    const random = createRandom(1, 'photos');
    for (let label = 0; label < 4; label++) {
      const own = join(photos, `class-${label}`);
      await mkdir(own);
      for (let image = 0; image < (label === 3 ? 4 : 12); image++) {
        const raw = Uint8Array.from({ length: 40 * 50 }, () => random.below(256));
        const png = await sharp(raw, { raw: { width: 50, height: 40, channels: 1 } })
          .png()
          .toBuffer();
        await writeFile(join(own, `${image}.png`), png);
        if (label === 1 && image === 0) await writeFile(join(photos, 'class-0', 'copy.png'), png);
      }
    }
  });
  afterAll(() => rm(photos, { recursive: true, force: true }));

  test('writes a pipeline that works, with a comment on each line, and warns', async () => {
    const { code, stdout, stderr } = await run('init', '--source', photos, '--out', 'mine.yaml');
    expect(code).toBe(0);
    expect(stdout).toContain('kd-spec run mine.yaml');
    expect(stderr).toContain('stand in two classes');
    expect(stderr).toContain('the smallest class, class-3,');
    expect(stderr).toContain('with 4 classes there is little to win');
    const text = await readFile(join(folder, 'mine.yaml'), 'utf8');
    for (const line of text
      .trimEnd()
      .split('\n')
      .filter((one) => /: \S/.test(one)))
      expect(line).toMatch(/# \S/);
    expect(text).toMatch(/imageSize: 32 .*pixels: under a minute for .*the images have 40/);
    expect(text).toContain('channels: 1');
    const plan = JSON.parse((await run('run', 'mine.yaml', '--dry-run', '--json')).stdout);
    expect(plan).toMatchObject({
      dataset: { classes: 4, image: { height: 32, channels: 1 } },
      specialists: { count: 2 },
    });
    const again = await run('init', '--source', photos, '--out', 'mine.yaml');
    expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining('--force') });
  });

  test('warns of images that cannot be read, on which the run would stop', async () => {
    const own = join(folder, 'photos');
    await cp(photos, own, { recursive: true });
    await writeFile(join(own, 'class-0', 'bad.png'), 'no image');
    await writeFile(join(own, 'class-2', 'empty.png'), '');
    const { code, stderr } = await run('init', '--source', own);
    expect(code).toBe(0);
    expect(stderr).toMatch(
      /2 images cannot be read, such as \S+\.png, and kd-spec run stops there: .*--on-error skip/,
    );
  });

  test('looks at the model that is to be improved, and writes what was said about it', async () => {
    const place = await mkdtemp(join(folder, 'colours-'));
    const [model, pictures, labels] = ['model.onnx', 'pictures', 'names.txt'].map((name) =>
      join(place, name),
    );
    await writeFile(model, colourModel());
    await writePictures(pictures, ['red', 'orange', 'green'], { perLabel: 20 });
    await mkdir(join(pictures, 'mauve'));
    await cp(join(pictures, 'red', '0.png'), join(pictures, 'mauve', '0.png'));
    const words = ['init', '--onnx', model, '--source', pictures];
    const looked = await run(...words, '--out', join(place, 'a.yaml'));
    expect(looked, looked.stderr).toMatchObject({ code: 0 });
    expect(looked.stdout).toMatch(/6 classes, 3 features, images of 12 x 12 in colour/);
    expect(looked.stdout).toMatch(/3 of the 4 classes of the images are among its own/);
    expect(looked.stderr).toMatch(/1 of 4 classes of the images are none of the model's, such as mauve/);
    const plan = await run('run', join(place, 'a.yaml'), '--dry-run', '--json');
    expect(plan, plan.stderr).toMatchObject({ code: 0 });
    expect(JSON.parse(plan.stdout)).toMatchObject({ dataset: { image: { height: 12 } } });

    await writeFile(labels, 'mauve\norange\ngreen\nblue\npurple\nwhite\n');
    const named = await run(...words, '--labels', labels, '--out', join(place, 'b.yaml'));
    expect(named.stdout).toMatch(/3 of the 4 classes/);
    expect(named.stderr).toContain('such as red');
    expect(await readFile(join(place, 'b.yaml'), 'utf8')).toMatch(/^ {4}labels: \.\/names\.txt/m);

    const missing = await run('init', '--onnx', 'none.onnx', '--source', pictures, '--out', 'c.yaml');
    expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining('none.onnx') });
    await expect(readFile(join(folder, 'c.yaml'))).rejects.toThrow('ENOENT');
  });

  test('chooses a size that the images have, and that can be trained', () => {
    const network = {
      convolutions: [32, 64],
      kernel: 3,
      dense: [192],
      normalisation: 'batch',
      dropout: 0,
    } as const;
    const sizeOf = (side: number | null, train = 500) =>
      chosenSize({ side, classes: 60, images: { train, validation: 60, test: 60 }, isGrey: false }, network);
    expect([null, 10, 20, 47, 50, 4000].map((side) => sizeOf(side).side)).toEqual([32, 16, 20, 32, 48, 64]);
    // With ten times as many images at a size that still trains in a quarter of an hour.
    expect(sizeOf(4000, 4000).side).toBe(32);
    expect(sizeOf(4000, 4000).minutes).toBeLessThan(15);
    expect(sizeOf(4000, 1_000_000)).toMatchObject({ side: 32 });
  });
});

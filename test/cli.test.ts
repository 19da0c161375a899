import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { runProgram } from '../src/cli/program.js';
import { packageFolder } from '../src/core/package.js';
import * as fixture from './fixtures/command-line.js';

/**
 * The built program, run as a user runs it, in a package of its own. Its stages are replaced by ones that do little
 * and can be interrupted: what stages do is tested where they are, here it is what the command line makes of it.
 */
const fakeStage = `
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
export async function run({ directory, log, signal, settings }) {
  log.progress('working', 2).update(1);
  const isGeneralist = import.meta.url.endsWith('generalist.js');
  if (isGeneralist && settings.generalist.epochs === 999) {
    log.info('waiting');
    const { KdSpecError } = await import('../../core/errors.js');
    await new Promise((resolve) => {
      const alive = setInterval(() => {}, 1000);
      if (settings.generalist.batchSize === 7) return;
      signal.addEventListener('abort', () => resolve(clearInterval(alive)), { once: true });
    });
    throw new KdSpecError('interrupted', 'checkpoint kept');
  }
  if (isGeneralist && settings.generalist.epochs === 998) throw new TypeError('bad luck');
  await writeFile(join(directory, 'output'), 'x');
  return { classes: settings.dataset.classes };
}
`;
const exportsOf = {
  dataset: 'makeDataset',
  generalist: 'trainGeneralist',
  predictions: 'predict',
  subsets: 'findSubsets',
  specialists: 'trainSpecialists',
  ensemble: 'calibrateEnsemble',
  report: 'evaluate',
};

const children = new Set<ChildProcess>();
let installed: string;
let folder: string;

beforeAll(async () => {
  const source = packageFolder();
  installed = await mkdtemp(join(tmpdir(), 'kd-spec-cli-'));
  for (const name of ['node_modules', 'pipelines', 'datasets', 'pages']) {
    await symlink(join(source, name), join(installed, name)).catch(() => {});
  }
  await cp(join(source, 'package.json'), join(installed, 'package.json'));
  await cp(join(source, 'dist'), join(installed, 'dist'), { recursive: true });
  for (const [stage, name] of Object.entries(exportsOf)) {
    await writeFile(
      join(installed, 'dist', 'pipeline', 'stages', `${stage}.js`),
      fakeStage.replace('function run', `function ${name}`),
    );
  }
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await rm(installed, { recursive: true, force: true });
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-work-'));
  return () => rm(folder, { recursive: true, force: true });
});

/** Runs a command line in this process. */
const kdSpec = (words: string, env: Record<string, string> = {}) =>
  fixture.kdSpec(words.split(' '), { folder, env, built: join(installed, 'dist') });

/** Runs a command line in a process of its own; `whenWaiting` is called when stderr first says so. */
async function kdSpecProcess(
  words: string,
  {
    env = {},
    whenWaiting = () => {},
  }: { env?: Record<string, string>; whenWaiting?: (send: (signal: NodeJS.Signals) => void) => void } = {},
) {
  const child = spawn(process.execPath, [join(installed, 'dist', 'cli', 'main.js'), ...words.split(' ')], {
    cwd: folder,
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  const result = { code: null as number | null, stdout: '', stderr: '' };
  let isWaiting = false;
  child.stdout.on('data', (chunk) => {
    result.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    result.stderr += chunk;
    if (isWaiting || !result.stderr.includes('waiting\n')) return;
    isWaiting = true;
    whenWaiting((signal) => child.kill(signal));
  });
  result.code = await new Promise((resolve) => child.on('close', resolve));
  children.delete(child);
  return result;
}

/** Runs a command line that ends before any work, without the cost of a process. */
async function inProcess(words: string, env: Record<string, string> = {}) {
  const result = { stdout: '', stderr: '' };
  const into = (name: 'stdout' | 'stderr') =>
    new Writable({
      write: (chunk, _encoding, done) => {
        result[name] += chunk;
        done();
      },
    });
  const streams = { stdout: into('stdout'), stderr: into('stderr') };
  return { code: await runProgram(words.split(' '), { env, folder, ...streams }), ...result };
}

describe('usage', () => {
  test.each([
    ['clustr', 'no such command: clustr. Did you mean cluster?'],
    ['eval', 'Did you mean evaluate?'],
    ['train', 'Did you mean train-generalist or train-specialists?'],
    ['--workspace w train', 'no such command: train'],
    ['infer a.png --topk 3', 'Did you mean --top?'],
    ['completion tcsh', 'tcsh'],
    ['help eval', 'Did you mean evaluate?'],
    ['cluster --clases 3', 'Unknown argument: clases. Did you mean --classes?'],
    ['evaluate --force', 'Unknown argument: force: it is an option of kd-spec init'],
    ['cluster --classes', '--classes: expected a value after it (kd-spec cluster --help'],
    ['jobs', 'expected what to do with the jobs: kd-spec jobs show, follow,'],
    ['patch --images comp --out zz.onnx', 'expected the model to patch: kd-spec patch MODEL.onnx'],
    ['export --format bogus', 'format: expected one of "onnx", "safetensors", "hf", "web", got "bogus"'],
    ['run --source plain --seed', '--seed: expected a value after it'],
    ['cluster --classes 1', '--classes: expected an integer from 2'],
    ['cluster --classes 3 --classes 4', '--classes was given 2 times'],
    ['dataset --epochs 3', 'epochs: it is an option of kd-spec train-generalist'],
    [
      'export --out e.onnx --rule paper',
      'Unknown argument: rule: it is an option of kd-spec calibrate, of the stages after it (rivals, answer, distill, ' +
        'evaluate) and of kd-spec run, not of kd-spec export',
    ],
    [
      'fuse - --evaluate-split test',
      'it is an option of kd-spec evaluate and of kd-spec run, not of kd-spec fuse',
    ],
    ['status --qqqqqq', 'Unknown argument: qqqqqq (--help lists what there is)'],
    ['qqqqqq', 'no such command: qqqqqq (kd-spec --help lists them)'],
    ['infer', 'expected images'],
    ...['export --out e.onnx', 'infer a.png', 'serve', 'fuse -', 'show', 'status', 'jobs cancel', 'init'].map(
      (words) => [
        `${words} --dry-run`,
        `--dry-run prints the plan of stages, and kd-spec ${words.split(' ')[0]} runs none: leave it out`,
      ],
    ),
    ['infer a.png --top x', '--top: expected an integer'],
    ['dataset --dry-run=maybe', '--dry-run: expected true or false, got "maybe"'],
    ['dataset --dry-run=', '--dry-run: expected true or false, got ""'],
    ['dataset --dry-run --no-dry-run', '--dry-run was given twice, as --dry-run and as --no-dry-run'],
    ['dataset --no-dry-run=1', '--no-dry-run takes no value, got "1"'],
    ['train-generalist --no-epochs', '--no-epochs: expected --epochs with a value'],
    ['train-specialists --no-parallel', '--parallel none leaves the choice open'],
    ['cluster --no-clusters --dry-run', '--no-clusters: expected --clusters with a value'],
    ['infer --no-image', 'no-image'],
    ['infer --no-top x.png', 'no-top'],
    ['dataset --classes.x=3', 'classes.x'],
    ['calibrate --select=perhaps', '--select: expected true or false'],
    ['run quickstart --pipeline han-3k', 'expected one pipeline, got quickstart and --pipeline han-3k'],
    ['calibrate', 'kd-spec run --source FOLDER'],
    ['cluster --clusters 50000 --classes 100 --dry-run', 'there are 100 classes'],
    ['run --source /nothere', 'found nothing at /nothere'],
  ])('%s ends with 2 and says what was expected', async (words, message) => {
    const { code, stdout, stderr } = await inProcess(words);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain('    at ');
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  test.each([
    ['dataset --classes 9 --dry-run=1', 'make'],
    ['dataset --classes 9 --dry-run=YES', 'make'],
    ['calibrate --classes 9 --dry-run --calibrate=no', 'make'],
    ['dataset --pipeline quickstart --dry-run=true', 'make'],
  ])('%s plans and makes nothing', async (words, plan) => {
    const { code, stdout, stderr } = await inProcess(words);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(plan);
  });

  test('a value that begins with dashes stands after an equals sign', async () => {
    const { code, stderr } = await inProcess(
      'train-specialists --classes 9 --engine slurm --dry-run --slurm-options=--gres=shard:1',
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  test.each(['export --out e.onnx', 'jobs show', 'infer a.png', 'show'])(
    '%s tells once of a variable that sets no option',
    async (words) => {
      const { stderr } = await inProcess(words, { KD_SPEC_WORKSPCE: 'elsewhere' });
      const told =
        'the environment variable KD_SPEC_WORKSPCE sets no option (did you mean "KD_SPEC_WORKSPACE"?)';
      expect(stderr.split(told)).toHaveLength(2);
    },
  );

  test('a pipeline file with a wrong key ends with 1 and names the line', async () => {
    await writeFile(join(folder, 'p.yaml'), 'dataset:\n  clases: 3\n');
    const { code, stdout, stderr } = await inProcess('run p.yaml');
    expect(stderr).toMatch(/^error: .*p\.yaml:2: unknown key "dataset\.clases" \(did you mean "classes"\?\)/);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  });

  test('help and version go to stdout, and load nothing heavy', async () => {
    const { code, stdout, stderr } = await kdSpecProcess('--help', { env: { NODE_DEBUG: 'esm' } });
    expect(code).toBe(0);
    expect(stderr).toContain('yargs');
    for (const heavy of ['@tensorflow', 'zod', 'sharp', 'apache-arrow']) expect(stderr).not.toContain(heavy);
    for (const command of ['run', 'cluster', 'infer', 'doctor'])
      expect(stdout).toMatch(RegExp(`^  ${command} `, 'm'));
    expect((await kdSpec('--version')).stdout.trim()).toMatch(/^\d+\.\d+\.\d+/);
    expect((await kdSpec('cluster --help')).stdout).toMatch(/--min-size N +Set the fewest classes/);
  });
});

describe('stdout', () => {
  test('has the plan alone in a dry run, which leaves no trace', async () => {
    const plain = await kdSpec('cluster --classes 12 --dry-run');
    expect(plain.stdout).toBe(`\
dataset      make  missing
generalist   make  missing
predictions  make  missing
subsets      make  missing

workspace   kd-workspace, new
data        jft-like; 12 classes; 480 training, 48 validation and 48 test images; 16 × 16 pixels, grey
generalist  convolutions 32, 64; dense layers 192; 218,796 parameters; 2.9 MFLOP per image
training    generalist at most 418 GFLOP, at most 28 s
time        15 GFLOP a second and process are assumed; measured once a generalist has been trained here
`);
    const json = JSON.parse((await kdSpec('cluster --classes 12 --dry-run --json')).stdout);
    expect(json).toMatchObject({ isNew: true, warnings: [], dataset: { classes: 12 } });
    expect(json.plan.at(-1)).toMatchObject({ stage: 'subsets', status: 'make', reasons: ['missing'] });
    expect(await readdir(folder)).toEqual([]);
  });

  test('has one JSON object with --json, while messages go to stderr', async () => {
    const made = await kdSpec('cluster --classes 12 --json');
    expect(made.code).toBe(0);
    expect(JSON.parse(made.stdout)).toMatchObject({
      classes: 12,
      subsets: join(folder, 'kd-workspace', 'subsets', 'subsets.json'),
      artefact: { stage: 'subsets', status: 'made' },
    });
    expect(made.stdout.trim().split('\n')).toHaveLength(1);
    expect(made.stderr).toContain('dataset: to be made (missing); generalist: to be made (missing)');

    const again = await kdSpec('cluster --quiet');
    expect(again).toMatchObject({
      code: 0,
      stdout: 'subsets: kd-workspace/subsets (up to date)\nclasses  12\n',
      stderr: '',
    });
  });

  test('has every stage after a run', async () => {
    const { code, stdout } = await kdSpec('run --json', { KD_SPEC_CLASSES: '7' });
    expect(code).toBe(0);
    const { stages } = JSON.parse(stdout);
    expect(Object.keys(stages)).toEqual(Object.keys(exportsOf));
    expect(stages.report.metrics).toEqual({ classes: 7 });
  });

  test('has what doctor finds', async () => {
    const { code, stdout } = await kdSpec('doctor --json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ node: process.versions.node, backends: expect.any(Array) });
  });
});

describe.skipIf(process.platform === 'win32')('an output that cannot be written', () => {
  const shell = (redirection: string) =>
    spawnSync(
      '/bin/bash',
      ['-c', `"${process.execPath}" "${join(installed, 'dist', 'cli', 'main.js')}" doctor ${redirection}`],
      { encoding: 'utf8', cwd: folder },
    );

  test('ends quietly where the reader has gone', () => {
    const { status, stderr } = shell('> >(true)');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });

  test.skipIf(!existsSync('/dev/full'))('is an error where the disk is full', () => {
    const { status, stderr } = shell('> /dev/full');
    expect({ status, stderr }).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('code: disk-full'),
    });
    expect(stderr).not.toContain('    at ');
  });
});

describe('the end', () => {
  const waiting = 'train-generalist --classes 12 --epochs 999';

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 75],
  ] as const)('after %s is %i, and the next run goes on', async (signal, code) => {
    const result = await kdSpecProcess(waiting, { whenWaiting: (send) => send(signal) });
    expect(result).toMatchObject({ code, stdout: '' });
    expect(result.stderr).toContain('code: interrupted');
    const { stdout } = await kdSpec(`${waiting} --dry-run`);
    expect(stdout).toContain('dataset     up to date\ngeneralist  continue    missing\n');
  });

  test('comes at once with a second signal, and leaves no lock', async () => {
    const result = await kdSpecProcess(`${waiting} --batch-size 7`, {
      whenWaiting: (send) => {
        send('SIGINT');
        setTimeout(() => send('SIGINT'), 100);
      },
    });
    expect(result.code).toBe(130);
    expect(await readdir(join(folder, 'kd-workspace'))).not.toContain('.lock');
  });

  test('of a killed holder leaves the workspace to the next, a live one does not', async () => {
    let second: fixture.Finished | undefined;
    await kdSpecProcess(waiting, {
      whenWaiting: async (send) => {
        second = await kdSpec('dataset --classes 12');
        send('SIGKILL');
      },
    });
    expect(second).toMatchObject({ code: 1, stderr: expect.stringContaining('code: workspace-busy') });
    expect((await kdSpec('dataset --classes 12')).code).toBe(0);
  });

  test('of a defect is 1, with the stack only where it was asked for', async () => {
    const plain = await kdSpec('train-generalist --classes 12 --epochs 998');
    expect(plain).toMatchObject({ code: 1, stdout: '' });
    expect(plain.stderr).toContain('error: bad luck\n');
    expect(plain.stderr).not.toContain('    at ');
    const debug = await kdSpec('train-generalist --classes 12 --epochs 998', { KD_SPEC_DEBUG: '1' });
    expect(debug.stderr).toContain('    at ');
  });
});

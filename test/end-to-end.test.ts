import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Field,
  Float32,
  Int32,
  List,
  makeVector,
  Schema,
  Table,
  tableToIPC,
  vectorFromArray,
} from 'apache-arrow';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { jsonOf, kdSpec } from './fixtures/command-line.js';
import { commands, copyOfTiny } from './fixtures/tiny-workspace.js';

/** The stages of `kd-spec run`, in order; a student is made only where one is asked for. */
const stageNames = commands.map(([, stage]) => stage);

interface Status {
  readonly status: string;
}
interface Coverage {
  readonly examples: number;
  readonly generalistCorrect: number;
  readonly ensembleCorrect: number;
}

/** The built program on real stages, as a user runs it, on a pipeline that takes seconds. */
describe('the tiny pipeline', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await copyOfTiny();
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const run = (...words: string[]) => kdSpec(words, { folder });
  const workspace = (...parts: string[]) => join(folder, 'kd-workspace', ...parts);
  const planOf = async (...words: string[]) => {
    const { plan } = jsonOf(await run(...words, '--dry-run', '--json'));
    return plan.map(({ stage, status }: { stage: string; status: string }) => `${stage} ${status}`);
  };

  test('leaves one whole artefact for each stage, and nothing else', async () => {
    expect((await readdir(workspace())).sort()).toEqual([...stageNames, '.partial', 'pipeline.yaml'].sort());
    expect(await readdir(workspace('.partial'))).toEqual([]);
    for (const stage of stageNames) {
      const manifest = JSON.parse(await readFile(workspace(stage, 'manifest.json'), 'utf8'));
      expect(manifest.stage).toBe(stage);
      expect(manifest.files.length).toBeGreaterThan(0);
    }
  });

  test('is up to date the second time, by run and by every command', async () => {
    const again = jsonOf(await run('run', 'tiny.yaml', '--json'));
    expect(Object.keys(again.stages)).toEqual(stageNames);
    for (const stage of stageNames) expect(again.stages[stage].status).toBe('up-to-date');

    for (const [command, stage] of commands) {
      const { artefact } = jsonOf(await run(command, '--json'));
      expect(artefact).toMatchObject({ stage, status: 'up-to-date', directory: workspace(stage) });
    }
  });

  test('prints a table for a person, and no progress with --quiet', async () => {
    const { code, stdout, stderr } = await run('evaluate', '--quiet');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('report: kd-workspace/report (up to date)');
    for (const shown of ['generalist', 'ensemble', 'conditional']) expect(stdout).toContain(shown);
  });

  test('a changed option makes exactly the stages after it again', async () => {
    const upToDate = (...names: readonly string[]) => names.map((name) => `${name} up-to-date`);
    const make = (...names: readonly string[]) => names.map((name) => `${name} make`);
    expect(await planOf('run', '--routing-top', '2')).toEqual([
      ...upToDate(...stageNames.slice(0, 5)),
      ...make('ensemble', 'report'),
    ]);
    expect(await planOf('run', '--specialist-epochs', '2')).toEqual([
      ...upToDate(...stageNames.slice(0, 4)),
      ...make('specialists', 'ensemble', 'report'),
    ]);
    expect(await planOf('cluster', '--clusters', '4')).toEqual([
      ...upToDate('dataset', 'generalist', 'predictions'),
      ...make('subsets'),
    ]);
    expect(await planOf('run', '--seed', '2')).toEqual(make(...stageNames));
    // Where the work is done, and how fast, changes no result.
    expect(await planOf('run', '--parallel', '2', '--backend', 'wasm', '--checkpoint-seconds', '7')).toEqual(
      upToDate(...stageNames),
    );
  });

  test('what was changed is made, and remembered by the workspace', async () => {
    const own = await copyOfTiny();
    try {
      const options = { folder: own, env: { KD_SPEC_ROUTING_TOP: '2', KD_SPEC_QUIET: 'true' } };
      const made = await kdSpec(['run', '--json'], options);
      expect(made.stderr).toBe('');
      const { stages } = jsonOf(made);
      const status = Object.entries(stages).map(([name, stage]) => [name, (stage as Status).status]);
      expect(Object.fromEntries(status)).toEqual({
        dataset: 'up-to-date',
        generalist: 'up-to-date',
        predictions: 'up-to-date',
        subsets: 'up-to-date',
        specialists: 'up-to-date',
        ensemble: 'made',
        report: 'made',
      });
      const ensemble = JSON.parse(await readFile(join(own, 'kd-workspace/ensemble/ensemble.json'), 'utf8'));
      expect(ensemble.routingTop).toBe(2);
      const { artefact } = jsonOf(await kdSpec(['evaluate', '--json'], { folder: own }));
      expect(artefact.status).toBe('up-to-date');
      // A flag goes before the environment.
      const flag = ['calibrate', '--routing-top', '3', '--dry-run', '--json'];
      expect(jsonOf(await kdSpec(flag, options)).plan.at(-1).reasons).toEqual(['routingTop 2 → 3']);
    } finally {
      await rm(own, { recursive: true, force: true });
    }
  });

  test('evaluate --json has the shape that programs rely on, with numbers that agree', async () => {
    const report = jsonOf(await run('evaluate', '--json'));
    const accuracy = { top1: expect.any(Number), top5: expect.any(Number) };
    const top1 = { top1: expect.any(Number) };
    expect(report).toMatchObject({
      test: { examples: expect.any(Number), generalist: accuracy, ensemble: accuracy },
      conditional: { examples: expect.any(Number), generalist: top1, specialists: top1, ensemble: top1 },
    });
    const rows: readonly Coverage[] = report.coverage;
    const sum = (of: (row: Coverage) => number) => rows.reduce((total, row) => total + of(row), 0);
    const { examples, generalist, ensemble } = report.test;
    expect(sum((row) => row.examples)).toBe(examples);
    expect(sum((row) => row.generalistCorrect)).toBe(Math.round(generalist.top1 * examples));
    expect(sum((row) => row.ensembleCorrect)).toBe(Math.round(ensemble.top1 * examples));
    expect(JSON.parse(await readFile(workspace('report', 'report.json'), 'utf8')).test).toEqual(report.test);
    expect(await readFile(workspace('report', 'index.html'), 'utf8')).toContain('<svg');
  });

  test('cluster --json has the shape that programs rely on', async () => {
    const answer = jsonOf(await run('cluster', '--json'));
    expect(answer).toMatchObject({
      subsets: workspace('subsets', 'subsets.json'),
      seconds: { affinity: expect.any(Number), clustering: expect.any(Number) },
      inertia: expect.any(Number),
    });
    expect(answer).toHaveProperty('coverage');
    const file = JSON.parse(await readFile(answer.subsets, 'utf8'));
    expect(Object.keys(file)).toEqual(['classes', 'subsets']);
    const clustered: readonly { id: number; classes: number[] }[] = file.subsets;
    expect(clustered.map(({ id }) => id)).toEqual([0, 1, 2]);
    const all = clustered.flatMap(({ classes }) => classes);
    expect(all.toSorted((a, b) => a - b)).toEqual(Array.from({ length: file.classes }, (_, label) => label));
  });
});

describe('cluster --predictions', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kd-spec-cluster-'));
    return () => rm(folder, { recursive: true, force: true });
  });

  const planted = 4; // groups of classes that are confused among themselves alone
  const perGroup = 5;

  /** Predictions as another program writes them: nothing but apache-arrow, and no word on the number of classes. */
  function foreignPredictions(): Table {
    const rows = Array.from({ length: 400 }, (_, row) => {
      const group = row % planted;
      const label = group * perGroup + (Math.floor(row / planted) % perGroup);
      const confused = group * perGroup + ((label + 1 + (row % 3)) % perGroup);
      return label === confused
        ? { label, indices: [label], probabilities: [0.9] }
        : { label, indices: [label, confused], probabilities: [0.5, 0.375] };
    });
    const list = <T extends Int32 | Float32>(type: T) => new List(new Field('item', type, true));
    return new Table({
      indices: vectorFromArray(
        rows.map(({ indices }) => indices),
        list(new Int32()),
      ),
      probabilities: vectorFromArray(
        rows.map(({ probabilities }) => probabilities),
        list(new Float32()),
      ),
      label: makeVector(Int32Array.from(rows, ({ label }) => label)),
    });
  }

  test.each(['stream', 'file'] as const)('finds the planted groups in an Arrow %s', async (format) => {
    await writeFile(join(folder, 'rows.arrow'), tableToIPC(foreignPredictions(), format));
    for (const affinity of ['covariance', 'confusion']) {
      const flags = `--predictions rows.arrow --clusters ${planted} --affinity ${affinity} --json`;
      const answer = jsonOf(await kdSpec(['cluster', ...flags.split(' ')], { folder }));
      expect(answer.artefact.status).toBe('made');
      const { classes, subsets } = JSON.parse(await readFile(answer.subsets, 'utf8'));
      expect(classes).toBe(planted * perGroup);
      const groups: readonly (readonly number[])[] = subsets.map((subset: { classes: number[] }) =>
        subset.classes.toSorted((a, b) => a - b),
      );
      expect(groups.toSorted((a, b) => a[0] - b[0])).toEqual(
        Array.from({ length: planted }, (_, group) =>
          Array.from({ length: perGroup }, (_, place) => group * perGroup + place),
        ),
      );
    }
  });

  test('names classes as --labels or the metadata of the predictions does; names that do not fit are refused', async () => {
    const table = foreignPredictions();
    const names = Array.from({ length: planted * perGroup }, (_, label) => `class ${label}`);
    const features = { label: { names, _type: 'ClassLabel' } };
    const metadata = new Map([['huggingface', JSON.stringify({ info: { features } })]]);
    const named = new Table(new Schema(table.schema.fields, metadata), table.batches);
    await writeFile(join(folder, 'rows.arrow'), tableToIPC(table, 'stream'));
    await writeFile(join(folder, 'named.arrow'), tableToIPC(named, 'stream'));
    await writeFile(join(folder, 'names.txt'), `${names.join('\n')}\n`);
    await writeFile(join(folder, 'few.txt'), 'a\nb\nc\n');
    const cluster = (...words: string[]) =>
      kdSpec(['cluster', ...words, '--clusters', `${planted}`, '--json'], { folder });
    const first = (answer: { classesBySubset: { mostTypical: string[] }[] }) =>
      answer.classesBySubset[0].mostTypical[0];
    const unnamed = first(jsonOf(await cluster('--predictions', 'rows.arrow')));
    expect(unnamed).toMatch(/^\d+$/);
    for (const words of ['--predictions named.arrow', '--predictions rows.arrow --labels names.txt'])
      expect(first(jsonOf(await cluster(...words.split(' '))))).toBe(`class ${unnamed}`);
    const refused = await cluster('--predictions', 'rows.arrow', '--labels', 'few.txt');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/few\.txt has 3 class names, the predictions 20 classes.*--labels FILE/);
  });

  test('takes subsets made elsewhere instead of clustering, and measures what they hold', async () => {
    await writeFile(join(folder, 'rows.arrow'), tableToIPC(foreignPredictions(), 'stream'));
    const write = (name: string, classes: number, groupOf: (label: number) => number) => {
      const labels = Array.from({ length: classes }, (_, label) => label);
      const subsets = Array.from({ length: planted }, (_, id) => ({
        id,
        classes: labels.filter((label) => groupOf(label) === id),
      }));
      return writeFile(join(folder, name), JSON.stringify({ classes, subsets }));
    };
    await write('planted.json', planted * perGroup, (label) => Math.floor(label / perGroup));
    await write('striped.json', planted * perGroup, (label) => label % planted);
    await write('others.json', planted, (label) => label);
    const cluster = (...flags: string[]) =>
      kdSpec(['cluster', '--predictions', 'rows.arrow', ...flags], { folder });
    for (const [name, least, most] of [
      ['planted.json', 1, 1],
      ['striped.json', 0, 0.1], // the first and the last class of a group share a stripe
    ] as const) {
      const answer = jsonOf(await cluster('--subsets', name, '--json'));
      expect(answer.artefact.status).toBe('made');
      expect(answer.confusionInside).toBeGreaterThanOrEqual(least);
      expect(answer.confusionInside).toBeLessThanOrEqual(most);
      const given = JSON.parse(await readFile(join(folder, name), 'utf8'));
      expect(JSON.parse(await readFile(answer.subsets, 'utf8'))).toEqual(given);
    }
    const refused = await cluster('--subsets', 'others.json', '--quiet');
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain('code: subsets-invalid');
    expect(refused.stderr).toContain('others.json is for 4 classes, the predictions for 20');
  });

  test('refuses what is not predictions, and says what and where', async () => {
    const table = new Table({ label: makeVector(Int32Array.of(1, 2)) });
    await writeFile(join(folder, 'labels.arrow'), tableToIPC(table, 'file'));
    await writeFile(join(folder, 'text.arrow'), 'not Arrow at all, but long enough for a header');
    await writeFile(join(folder, 'cut.arrow'), tableToIPC(foreignPredictions(), 'stream').subarray(0, 2000));
    for (const [name, code, said] of [
      ['labels.arrow', 'predictions-invalid', 'indices: list<int32>'],
      ['text.arrow', 'shard-corrupt', 'is not the Arrow file'],
      ['cut.arrow', 'shard-truncated', 'after row 0'],
      ['none.arrow', 'not-found', 'does not exist'],
    ]) {
      const answer = await kdSpec(['cluster', '--predictions', name, '--quiet'], { folder });
      expect(answer).toMatchObject({ code: 1, stdout: '' });
      expect(answer.stderr).toContain(`code: ${code}`);
      expect(answer.stderr).toContain(name);
      expect(answer.stderr).toContain(said);
    }
  });
});

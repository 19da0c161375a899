/**
 * What specialists add to the cost of somebody else's model: the model's own file against files with specialists in it.
 *
 *     npx tsx scripts/bench/patched.ts --model PP-OCRv6_rec_small.onnx [--size 48] [--specialists 60,300]
 *         [--rules share-inside,combine,paper] [--runtimes onnx,wasm] [--rounds 5] [--seconds 1] [--python PATH] [--out FOLDER]
 *
 * Every class of the model belongs to one specialist, linear on its features with random weights, so that each image
 * queries one; time does not depend on the weights. Each file is opened in a process of its own, by the outputs that a
 * program would read. A rival is among them: a hidden layer for all classes beside the model's last one, of random weights,
 * too (a refitted layer costs what the model's own does). In each round all files take their turn, so that the ratios of a
 * round are of one time. Shown are milliseconds to open a file, milliseconds of one image, images a second in batches of 8
 * and 128 (median over the runs of `--seconds`), and what the process holds in memory: medians over the rounds, the ratios
 * too. `--python` names an interpreter with onnxruntime, which runs the model alone. `--out` writes patched.md and
 * patched.json there.
 */
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { selectBackend } from '../../src/compute/backend.js';
import { createRandom } from '../../src/core/random.js';
import type { EnsembleFile } from '../../src/ensemble/ensemble-file.js';
import { exportOnnx } from '../../src/ensemble/export/export-onnx.js';
import { createSpecialist, type Specialist } from '../../src/ensemble/specialist/specialist.js';
import { SpecialistNetworks } from '../../src/ensemble/specialist/specialist-networks.js';
import { networkFromTensors, networkValues } from '../../src/models/network.js';
import { describeOnnx, importOnnx } from '../../src/models/onnx/import-onnx.js';
import { readImportedModel } from '../../src/models/onnx/onnx-backbone.js';
import { withHead } from '../../src/models/onnx/replace-head.js';
import { openSession, type RuntimeName } from '../../src/models/onnx/runtime.js';
import { writeOnnxModel } from '../../src/models/onnx/write-model.js';
import { hiddenUnits } from '../../src/training/heads/train-head.js';
import { describeMachine, type Machine } from '../machine.js';
import { table } from '../results/format.js';
import { writeResult } from '../results/write-result.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    size: { type: 'string', default: '48' },
    specialists: { type: 'string', default: '60,300' },
    rules: { type: 'string', default: 'share-inside,combine,paper' },
    runtimes: { type: 'string', default: 'onnx,wasm' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '1' },
    python: { type: 'string' },
    out: { type: 'string' },
    measure: { type: 'string' }, // in a child process: what to measure, as JSON
  },
});
const batches = [1, 8, 128] as const;

/** A file, and how it is fed. */
interface Task {
  readonly file: string;
  readonly runtime: string;
  readonly input: string;
  readonly output: string;
  readonly size: number;
  readonly seconds: number;
}

interface Measured {
  readonly openMs: number;
  /** Median, in batches of 1, 8 and 128. */
  readonly msPerImage: readonly number[];
  readonly residentMiB: number;
}

async function measure({ file, runtime, input, output, size, seconds }: Task): Promise<Measured> {
  const bytes = await readFile(file);
  const started = performance.now();
  const name: RuntimeName = runtime === 'wasm' ? 'wasm' : 'auto';
  const session = await openSession(bytes, { name: file, runtime: name });
  const openMs = performance.now() - started;
  const msPerImage: number[] = [];
  for (const batch of batches) {
    const random = createRandom('patched', batch);
    const data = Float32Array.from({ length: batch * 3 * size * size }, () => 2 * random.uniform() - 1);
    const feeds = { [input]: { type: 'float32', data, shape: [batch, 3, size, size] } } as const;
    await session.run(feeds, [output]);
    const times: number[] = [];
    const end = performance.now() + 1000 * seconds;
    while (times.length < 3 || performance.now() < end) {
      const before = performance.now();
      await session.run(feeds, [output]);
      times.push((performance.now() - before) / batch);
    }
    msPerImage.push(times.sort((a, b) => a - b)[Math.floor(times.length / 2)]);
  }
  session.dispose();
  return { openMs, msPerImage, residentMiB: process.memoryUsage().rss / 2 ** 20 };
}

function inChild(task: Task): Measured {
  const words = ['--import', 'tsx', import.meta.filename, '--measure', JSON.stringify(task)];
  return JSON.parse(execFileSync(process.execPath, words, { encoding: 'utf8' }));
}

/** The same by Python's ONNX Runtime, the model alone. */
function inPython(python: string, { file, size, seconds }: Task): Measured {
  const program = `
import json, resource, sys, time
import numpy as np, onnxruntime
file, size, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
started = time.perf_counter()
session = onnxruntime.InferenceSession(file)
opened = 1000 * (time.perf_counter() - started)
medians = []
for batch in [${batches.join(', ')}]:
    feeds = {session.get_inputs()[0].name: np.random.default_rng(1).uniform(-1, 1, (batch, 3, size, size)).astype(np.float32)}
    session.run(None, feeds)
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        before = time.perf_counter()
        session.run(None, feeds)
        times.append(1000 * (time.perf_counter() - before) / batch)
    medians.append(sorted(times)[len(times) // 2])
print(json.dumps({'openMs': opened, 'msPerImage': medians, 'residentMiB': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
`;
  return JSON.parse(
    execFileSync(python, ['-c', program, file, String(size), String(seconds)], { encoding: 'utf8' }),
  );
}

/** Files of the model with so many specialists, by the name that the table gives them. */
async function makeFiles(path: string, size: number, folder: string) {
  const hints = { labels: null, layout: null, imageMean: null, imageStd: null, blank: null, logits: null };
  const options = { ...hints, features: null, channelOrder: 'bgr', imageSize: size } as const;
  const described = await describeOnnx(path, options);
  const { operations } = await selectBackend('wasm');
  const check = { images: new Float32Array(3 * size * size), count: 1, labels: Int32Array.of(0) };
  const { network, backbone, tensors } = await importOnnx(described, check, folder, { operations });
  const generalist = networkFromTensors(operations, network, tensors);
  const imported = await readImportedModel(folder, backbone);
  const { output } = described.head;
  const rival = join(folder, 'hidden.onnx');
  await writeOnnxModel(rival, await withHidden(described));
  const files = [
    { name: 'the model', file: path, output },
    { name: `a hidden layer of ${hiddenUnits} units for all classes`, file: rival, output },
  ];
  for (const rule of values.rules.split(','))
    for (const count of values.specialists.split(',').map(Number)) {
      const order = createRandom('subsets', count).shuffle([...Array(network.outputs).keys()]);
      const specialists: Specialist[] = [];
      for (let id = 0; id < count; id++) {
        const classes = order.filter((_, place) => place % count === id);
        const random = createRandom('dustbin', id);
        const weights = Float32Array.from({ length: network.input.width }, () => 0.01 * random.normal());
        const own = await createSpecialist(generalist, classes, { weights, bias: 0 });
        specialists.push({
          values: await networkValues(own),
          config: {
            kind: 'specialist',
            id,
            classes,
            head: 'dustbin',
            retrain: 'head',
            network: own.definition,
            dustbin: { specialExamples: 1, otherExamples: 3, sampledSpecialFraction: 0.5, correction: 1 },
            firstDivergence: 0,
          },
        });
        own.dispose();
      }
      const fitted = specialists.map((_, id) => ({ id, temperature: 1, weight: 1, kept: true }));
      const settings: EnsembleFile = { routingTop: 1, rule, generalistTemperature: 1, specialists: fitted };
      const classes = described.classes.names;
      const networks = new SpecialistNetworks(operations, specialists);
      const model = await exportOnnx({ generalist, specialists: networks, settings, classes, imported });
      const file = join(folder, `${rule}-${count}.onnx`);
      await writeOnnxModel(file, model.proto);
      networks.dispose();
      files.push({ name: `${count} specialists, ${rule}`, file, output: 'probabilities' });
    }
  generalist.dispose();
  return { files, input: described.input.name };
}

/** The model with a hidden layer for all classes, of random weights. */
function withHidden({ model, head }: Awaited<ReturnType<typeof describeOnnx>>) {
  const { width, classes } = head;
  const random = createRandom('hidden');
  const normals = (length: number) => Float32Array.from({ length }, () => 0.01 * random.normal());
  const hidden = { weights: normals(width * hiddenUnits), bias: normals(hiddenUnits) };
  return withHead(model, head, {
    weights: normals((width + hiddenUnits) * classes),
    bias: normals(classes),
    hidden,
  });
}

/** A file in one runtime, over all rounds. */
interface Row {
  readonly runtime: string;
  readonly name: string;
  readonly bytes: number;
  readonly rounds: readonly Measured[];
}

interface Result {
  readonly machine: Machine;
  readonly model: string;
  readonly size: number;
  readonly rows: readonly Row[];
}

async function compare(path: string): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'kd-spec-patched-'));
  const [size, seconds] = [Number(values.size), Number(values.seconds)];
  const { python } = values;
  try {
    const { files, input } = await makeFiles(path, size, folder);
    const tasks = values.runtimes
      .split(',')
      .flatMap((runtime) =>
        files.map(({ name, file, output }) => ({ name, file, runtime, input, output, size, seconds })),
      );
    if (python !== undefined)
      tasks.push({ name: 'the model', file: path, runtime: 'python', input, output: '', size, seconds });
    const rounds = Array.from({ length: Number(values.rounds) }, () =>
      tasks.map((task) => (task.runtime === 'python' && python ? inPython(python, task) : inChild(task))),
    );
    const rows: Row[] = [];
    for (const [place, { runtime, name, file }] of tasks.entries())
      rows.push({
        runtime,
        name,
        bytes: (await stat(file)).size,
        rounds: rounds.map((round) => round[place]),
      });
    return { machine: describeMachine(1), model: basename(path), size, rows };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

const runtimeNames: Readonly<Record<string, string>> = {
  onnx: 'onnxruntime-node',
  wasm: 'onnxruntime-web, one thread',
  python: 'onnxruntime in Python',
};

function page({ machine, model, size, rows }: Result): string {
  const cells = ({ runtime, name, bytes, rounds }: Row) => {
    const alone = rows.find((row) => row.runtime === runtime && row.name === 'the model')?.rounds ?? rounds;
    const times = batches.map((size, batch) => {
      const ms = median(rounds.map(({ msPerImage }) => msPerImage[batch]));
      const ratio = median(
        rounds.map(({ msPerImage }, round) => msPerImage[batch] / alone[round].msPerImage[batch]),
      );
      return size === 1
        ? `${ms.toFixed(2)} (${ratio.toFixed(2)})`
        : `${(1000 / ms).toFixed(0)} (${(1 / ratio).toFixed(2)})`;
    });
    return [
      runtimeNames[runtime] ?? runtime,
      name,
      (bytes / 1e6).toFixed(1),
      median(rounds.map(({ openMs }) => openMs)).toFixed(0),
      ...times,
      median(rounds.map(({ residentMiB }) => residentMiB)).toFixed(0),
    ];
  };
  return `# What specialists add to the cost of somebody else's model

    npm run build && npm run bench:patched -- --model ${model} --python PYTHON --out docs/results

${model}, images of ${size} x ${size}: milliseconds of one image, in brackets as a multiple of the model's, and images a second in
batches, in brackets as a share of the model's, each of the same round (medians of ${rows[0]?.rounds.length ?? 0} rounds, in which all files took their turn). Every class belongs to one
specialist, linear on the model's features with random weights, so that each image queries one. ${machine.cores} cores of
${machine.processor}, Node ${machine.node}; ${machine.load.toFixed(1)} processes on average wanted a core at the end.

${table(['runtime', 'file', 'MB', 'open, ms', ...batches.map((batch) => (batch === 1 ? 'one image, ms' : `a second in batches of ${batch}`)), 'memory, MiB'], rows.map(cells))}
`;
}

if (values.measure !== undefined) console.log(JSON.stringify(await measure(JSON.parse(values.measure))));
else {
  if (values.model === undefined) throw new Error('name a model: --model FILE');
  const result = await compare(resolve(values.model));
  if (values.out === undefined) process.stdout.write(page(result));
  else writeResult(values.out, 'patched', result, page);
}

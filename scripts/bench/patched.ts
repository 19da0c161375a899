/**
 * What specialists add to the cost of somebody else's model: the model's own file against files with specialists in it.
 *
 *     npx tsx scripts/bench/patched.ts --model PP-OCRv6_rec_small.onnx [--size 48] [--specialists 60,300]
 *         [--rules share-inside,paper] [--runtimes onnx,wasm] [--seconds 2] [--python PATH] [--json]
 *
 * Every class of the model belongs to one specialist, linear on its features with random weights, so that each image
 * queries one; time does not depend on the weights. Each file is opened in a process of its own, by the outputs that a
 * program would read. Shown are milliseconds to open it, milliseconds an image in batches of 1, 8 and 128 (median over
 * the runs of `--seconds`, files in turn within a round), and what the process holds in memory. `--python` names an
 * interpreter with onnxruntime, which runs the model alone.
 */
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { selectBackend } from '../../src/compute/backend.js';
import { createRandom } from '../../src/core/random.js';
import type { EnsembleFile } from '../../src/ensemble/ensemble-file.js';
import { exportOnnx } from '../../src/ensemble/export/export-onnx.js';
import { createSpecialist, type Specialist } from '../../src/ensemble/specialist/specialist.js';
import { networkFromTensors } from '../../src/models/network.js';
import { describeOnnx, importOnnx } from '../../src/models/onnx/import-onnx.js';
import { readImportedModel } from '../../src/models/onnx/onnx-backbone.js';
import { openSession, type RuntimeName } from '../../src/models/onnx/runtime.js';
import { writeOnnxModel } from '../../src/models/onnx/write-model.js';
import { describeMachine } from '../machine.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    size: { type: 'string', default: '48' },
    specialists: { type: 'string', default: '60,300' },
    rules: { type: 'string', default: 'share-inside,paper' },
    runtimes: { type: 'string', default: 'onnx,wasm' },
    seconds: { type: 'string', default: '2' },
    python: { type: 'string' },
    json: { type: 'boolean', default: false },
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
  const { network, backbone, tensors } = await importOnnx(described, check, folder);
  const generalist = networkFromTensors(operations, network, tensors);
  const imported = await readImportedModel(folder, backbone);
  const files = [{ name: 'the model', file: path, output: described.head.output }];
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
          network: own,
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
      }
      const fitted = specialists.map((_, id) => ({ id, temperature: 1, weight: 1, kept: true }));
      const settings: EnsembleFile = { routingTop: 1, rule, generalistTemperature: 1, specialists: fitted };
      const classes = described.classes.names;
      const model = await exportOnnx({ generalist, specialists, settings, classes, imported });
      const file = join(folder, `${rule}-${count}.onnx`);
      await writeOnnxModel(file, model.proto);
      for (const { network: own } of specialists) own.dispose();
      files.push({ name: `${count} specialists, ${rule}`, file, output: 'probabilities' });
    }
  generalist.dispose();
  return { files, input: described.input.name };
}

async function compare(path: string) {
  const folder = await mkdtemp(join(tmpdir(), 'kd-spec-patched-'));
  const size = Number(values.size);
  try {
    const { files, input } = await makeFiles(path, size, folder);
    const rows = [];
    for (const runtime of values.runtimes.split(','))
      for (const { name, file, output } of files) {
        const task = { file, runtime, input, output, size, seconds: Number(values.seconds) };
        rows.push({ runtime, name, bytes: (await stat(file)).size, ...inChild(task) });
      }
    if (values.python !== undefined) {
      const task = {
        file: path,
        runtime: 'python',
        input,
        output: '',
        size,
        seconds: Number(values.seconds),
      };
      rows.push({
        runtime: 'python',
        name: 'the model',
        bytes: (await stat(path)).size,
        ...inPython(values.python, task),
      });
    }
    return { machine: describeMachine(1), rows };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

if (values.measure !== undefined) console.log(JSON.stringify(await measure(JSON.parse(values.measure))));
else {
  if (values.model === undefined) throw new Error('name a model: --model FILE');
  const result = await compare(resolve(values.model));
  if (values.json) console.log(JSON.stringify(result, null, 2));
  else {
    for (const { runtime, name, bytes, openMs, msPerImage, residentMiB } of result.rows) {
      const alone = result.rows.find((one) => one.runtime === runtime && one.name === 'the model');
      const cells = msPerImage.map(
        (ms, index) => `${ms.toFixed(2)} (${(ms / (alone?.msPerImage[index] ?? ms)).toFixed(2)})`,
      );
      console.log(
        `${runtime.padEnd(7)} ${name.padEnd(28)} ${(bytes / 1e6).toFixed(1)} MB, open ${openMs.toFixed(0)} ms, ms an image in ` +
          `batches of ${batches.join(', ')} (times the model): ${cells.join(', ')}; ${residentMiB.toFixed(0)} MiB`,
      );
    }
    console.log(`load ${result.machine.load.toFixed(1)}`);
  }
}

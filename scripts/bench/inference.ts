/**
 * What an answer costs: an ensemble of our own networks against its generalist, on each runtime.
 *
 *     npm run build && npm run bench:inference -- --workspace PATH [--workspace PATH ...] [--rivals 96,...] \
 *       [--batches 1,8,128,1024] [--runtimes wasm,tensorflow,onnx] [--python PATH] [--rounds 9] [--ms 150] [--out FOLDER]
 *
 * Each predicts distributions over all classes of test images that are in memory, into an array that is kept. On `wasm`
 * and `tensorflow` the contestants are generalist, ensemble, a wider generalist of about the ensemble's accuracy
 * (`--rivals`: units of its last layer, for each workspace; of random weights, since time does not depend on them), and
 * the ensemble with parts left out: `routed` has no specialist kept, so that what it costs more than the generalist is
 * routing and one more copy; `queried` runs the specialists and does not fuse. `trace` also returns what all of them
 * predict. On `onnx` they are exported files in ONNX Runtime; one of them is the generalist with as many more nodes as the
 * ensemble has, each of which computes next to nothing. `--python` names an interpreter with onnxruntime, which runs the
 * generalist alone. How long `loadEnsemble` takes is measured in processes of its own.
 *
 * In each round every contestant has a turn of `--ms` at each batch size; a turn counts with the median of its calls, and
 * a share is the generalist's time by the contestant's in the same round. Shown are medians over rounds. Without `--out`
 * the page is printed; with it `inference.md` and `inference.json` are written there.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { clone, create } from '@bufbuild/protobuf';
import { type GraphProto, GraphProtoSchema, ModelProtoSchema } from 'onnx-buf';
import type { BackendName } from '../../src/compute/backend.js';
import { packageFolder } from '../../src/core/package.js';
import { createRandom } from '../../src/core/random.js';
import { imageBatches } from '../../src/data/batches.js';
import { openDataset } from '../../src/data/dataset.js';
import { loadNetworkEnsemble, NetworkEnsemble } from '../../src/ensemble/ensemble.js';
import { type ExportedModel, exportOnnx, modelBytes } from '../../src/ensemble/export/export-onnx.js';
import { createQuery } from '../../src/ensemble/query.js';
import { createRouter } from '../../src/ensemble/routing.js';
import { SpecialistNetworks } from '../../src/ensemble/specialist/specialist-networks.js';
import { indexMembership } from '../../src/ensemble/subsets/membership.js';
import type { Report } from '../../src/evaluation/report.js';
import type { Classifier, ImageBatch } from '../../src/models/classifier.js';
import { createNetwork, type Network } from '../../src/models/network.js';
import { networkClassifier } from '../../src/models/network-classifier.js';
import { createGraphWriter, renameValue } from '../../src/models/onnx/graph-writer.js';
import { type ImageSession, openImageSession } from '../../src/models/onnx/image-session.js';
import { describeRuntime } from '../../src/models/onnx/runtime.js';
import { describeMachine, type Machine } from '../machine.js';
import { table } from '../results/format.js';
import { writeResult } from '../results/write-result.js';

const { values: flags } = parseArgs({
  options: {
    workspace: { type: 'string', multiple: true },
    rivals: { type: 'string', default: '' },
    batches: { type: 'string', default: '1,8,128,1024' },
    runtimes: { type: 'string', default: 'wasm,tensorflow,onnx' },
    python: { type: 'string' },
    rounds: { type: 'string', default: '9' },
    ms: { type: 'string', default: '150' },
    out: { type: 'string' },
  },
});
const batchSizes = flags.batches.split(',').map(Number);
const turnMs = Number(flags.ms);
const fewestCalls = 3;
const openings = 5;

/** Predicts the distributions of a batch into an array that it keeps. */
type Predict = (batch: ImageBatch) => Promise<unknown>;

/** Microseconds an image, by batch size and round. */
type Times = readonly (readonly number[])[];

interface Row {
  readonly runtime: string;
  readonly contestant: string;
  readonly times: Times;
}

interface Comparison {
  readonly name: string;
  readonly classes: number;
  readonly specialists: number;
  /** Specialists that an image queries, on average. */
  readonly active: number | null;
  /** Operations of the generalist by those of the ensemble. */
  readonly shareByOperations: number | null;
  readonly rows: readonly Row[];
  /** Of the exported graphs, where there are some. */
  readonly nodes?: { readonly generalist: number; readonly ensemble: number };
  /** Milliseconds of `loadEnsemble`, each in a process of its own. */
  readonly opened: readonly { readonly what: string; readonly ms: readonly number[] }[];
}

interface Result {
  readonly machine: Machine;
  readonly batchSizes: readonly number[];
  readonly comparisons: readonly Comparison[];
}

/** Test images in batches of a size, a few of them, which take turns. */
async function batchesOf(workspace: string, batchSize: number): Promise<readonly ImageBatch[]> {
  const { splits, image } = await openDataset(join(workspace, 'dataset'));
  const batches: ImageBatch[] = [];
  const most = Math.max(2, Math.min(64, Math.floor(4096 / batchSize)));
  for await (const batch of imageBatches(splits.test, image, { batchSize })) {
    if (batch.count === batchSize) batches.push(batch);
    if (batches.length === most) break;
  }
  if (batches.length === 0) throw new Error(`${workspace} has fewer than ${batchSize} test images`);
  return batches;
}

/** The median call of a turn, in microseconds an image. */
async function turn(predict: Predict, batches: readonly ImageBatch[]): Promise<number> {
  const times: number[] = [];
  const end = performance.now() + turnMs;
  for (let call = 0; call < fewestCalls || performance.now() < end; call++) {
    const batch = batches[call % batches.length];
    const before = performance.now();
    await predict(batch);
    times.push((1000 * (performance.now() - before)) / batch.count);
  }
  return median(times);
}

/** All contestants of a runtime in turn, after a turn that does not count. */
async function compete(
  contestants: ReadonlyMap<string, Predict>,
  batches: readonly (readonly ImageBatch[])[],
): Promise<ReadonlyMap<string, Times>> {
  const times = new Map([...contestants.keys()].map((name) => [name, batchSizes.map((): number[] => [])]));
  for (let round = 0; round <= Number(flags.rounds); round++)
    for (const [place, some] of batches.entries())
      for (const [name, predict] of contestants) {
        const microseconds = await turn(predict, some);
        if (round > 0) times.get(name)?.[place].push(microseconds);
      }
  return times;
}

const rivalName = (units: number) => `generalist of ${units} units`;

/** A generalist with another number of units in its last layer, of random weights. */
function widened({ operations, definition }: Network, units: number): Network {
  const dense = [...definition.dense.slice(0, -1), units];
  return createNetwork(operations, { ...definition, dense }, createRandom('rival', units));
}

/** A network that predicts alone, as an ensemble, which is what is exported. */
function alone(network: Network, classes: readonly string[]): NetworkEnsemble {
  const settings = { routingTop: 1, rule: 'combine', generalistTemperature: 1, specialists: [] };
  return new NetworkEnsemble(classes, network, new SpecialistNetworks(network.operations, []), settings);
}

/** The specialists of an ensemble, queried as inference does, and not fused. */
function queriedAlone({ generalist, specialistNetworks, settings, classes }: NetworkEnsemble): Predict {
  const configs = specialistNetworks.members.map(({ config }) => config);
  const kept = configs.map((config, place) => (settings.specialists[place].kept ? config : { classes: [] }));
  const { routingTop: top, routingMass: mass, routingMost: most, generalistTemperature } = settings;
  const router = createRouter(indexMembership(kept, classes.length), { top, mass, most });
  const query = createQuery(generalist, specialistNetworks, {
    temperature: generalistTemperature,
    largestGather: configs.reduce((largest, config) => Math.max(largest, config.classes.length), 0),
    needsPlain: router.reads === 'masses',
    usesDustbin: false,
  });
  return async (batch) => {
    const queried = await query(batch, ({ plain, first }) => router.route(plain, first));
    queried.dispose();
  };
}

/** What competes on a backend. The ensemble owns what is made of its parts. */
function contestantsOn(ensemble: NetworkEnsemble, rival: number | undefined): ReadonlyMap<string, Predict> {
  const { classes, generalist, specialistNetworks, settings } = ensemble;
  const out = new Float32Array(Math.max(...batchSizes) * classes.length);
  const into =
    (classifier: Classifier): Predict =>
    (batch) =>
      classifier.probabilities(batch, { out });
  const none = settings.specialists.map((one) => ({ ...one, kept: false }));
  const routed = new NetworkEnsemble(classes, generalist, specialistNetworks, {
    ...settings,
    specialists: none,
  });
  const contestants = new Map<string, Predict>([
    ['generalist', into(networkClassifier(generalist, { name: 'the generalist', classes }))],
    ['ensemble', into(ensemble)],
    ['routed', into(routed)],
    ['queried', queriedAlone(ensemble)],
    ['trace', (batch) => ensemble.trace(batch, { out })],
  ]);
  if (rival !== undefined) {
    const network = widened(generalist, rival);
    contestants.set(rivalName(rival), into(networkClassifier(network, { name: 'the rival', classes })));
  }
  return contestants;
}

async function compare(workspace: string, rival: number | undefined): Promise<Comparison> {
  const batches = await Promise.all(batchSizes.map((size) => batchesOf(workspace, size)));
  const rows: Row[] = [];
  const opened: Comparison['opened'][number][] = [];
  let nodes: Comparison['nodes'];
  const note = (runtime: string, times: ReadonlyMap<string, Times>) => {
    for (const [contestant, all] of times) rows.push({ runtime, contestant, times: all });
  };
  for (const backend of flags.runtimes.split(',').filter((name) => name !== 'onnx')) {
    const ensemble = await loadNetworkEnsemble(workspace, { backend: backend as BackendName });
    note(backend, await compete(contestantsOn(ensemble, rival), batches));
    ensemble.dispose();
    opened.push({ what: `the workspace, ${backend}`, ms: openingTimes(workspace, { backend }) });
  }
  const ensemble = await loadNetworkEnsemble(workspace, { backend: 'wasm' });
  const { classes, generalist, specialistNetworks: specialists, settings } = ensemble;
  if (flags.runtimes.split(',').includes('onnx')) {
    const folder = mkdtempSync(join(tmpdir(), 'kd-spec-inference-'));
    try {
      const files = new Map<string, ExportedModel>();
      const parts = { classes, generalist, specialists, settings };
      const { specialistNetworks, settings: plain } = alone(generalist, classes);
      files.set(
        'generalist',
        await exportOnnx({ ...parts, specialists: specialistNetworks, settings: plain }),
      );
      files.set('ensemble', await exportOnnx(parts));
      const [few, many] = [...files.values()].map(({ proto }) => (proto.graph ? countNodes(proto.graph) : 0));
      nodes = { generalist: few, ensemble: many };
      files.set(idleName, withIdleNodes([...files.values()][0], many - few));
      if (rival !== undefined) {
        const network = widened(generalist, rival);
        const wide = { ...parts, generalist: network, specialists: specialistNetworks, settings: plain };
        files.set(rivalName(rival), await exportOnnx(wide));
        network.dispose();
      }
      const sessions = new Map<string, ImageSession>();
      const contestants = new Map<string, Predict>();
      for (const [name, model] of files) {
        const session = await openImageSession(modelBytes(model), model.feed, { path: name });
        sessions.set(name, session);
        contestants.set(name, (batch) => session.run(batch, [model.fused], () => {}));
      }
      note(
        describeRuntime().isNative ? 'onnxruntime-node' : 'onnxruntime-web',
        await compete(contestants, batches),
      );
      for (const session of sessions.values()) session.dispose();
      const whole = files.get('ensemble');
      if (whole) {
        const path = join(folder, 'ensemble.onnx');
        writeFileSync(path, modelBytes(whole));
        const kinds = [...(describeRuntime().isNative ? (['onnx'] as const) : []), 'wasm'] as const;
        for (const runtime of kinds) {
          const name = runtime === 'onnx' ? 'onnxruntime-node' : 'onnxruntime-web';
          opened.push({ what: `the file, ${name}`, ms: openingTimes(path, { runtime }) });
        }
      }
      const file = files.get('generalist');
      if (flags.python !== undefined && file !== undefined) {
        const path = join(folder, 'generalist.onnx');
        writeFileSync(path, modelBytes(file));
        const { height, width, channels } = generalist.definition.input;
        const times = inPython(flags.python, path, [channels, height, width]);
        rows.push({ runtime: 'onnxruntime in Python', contestant: 'generalist', times });
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  ensemble.dispose();
  const { inference }: Report = JSON.parse(readFileSync(join(workspace, 'report', 'report.json'), 'utf8'));
  return {
    name: basename(workspace),
    classes: classes.length,
    specialists: ensemble.specialists.length,
    active: inference?.active ?? null,
    shareByOperations: inference ? inference.generalistFlops / inference.ensembleFlops : null,
    rows,
    ...(nodes && { nodes }),
    opened,
  };
}

const idleName = 'generalist with idle nodes';

/** The nodes of a graph and of its branches. */
function countNodes(graph: GraphProto): number {
  return graph.node.reduce(
    (sum, { attribute }) =>
      sum + 1 + attribute.reduce((inside, { g }) => inside + (g ? countNodes(g) : 0), 0),
    0,
  );
}

/** A file that predicts the same, in which so many nodes run one after the other that compute four numbers each. */
function withIdleNodes(model: ExportedModel, count: number): ExportedModel {
  const { proto, fused, feed } = model;
  if (proto.graph === undefined) throw new Error('a model has a graph');
  const graph = clone(GraphProtoSchema, proto.graph);
  const writer = createGraphWriter(graph, Number(proto.opsetImport[0].version), { prefix: 'idle_' });
  const before = 'idle_before';
  renameValue(graph, fused, before);
  let value = writer.castTo(writer.node('Shape', [feed.name]), 'float32'); // known only when it runs
  for (let node = 0; node < count; node++) value = writer.node('Sigmoid', [value]);
  const nothing = writer.mul(writer.sum(value, 0), writer.scalar(0));
  writer.name(writer.add(before, nothing), fused);
  return { ...model, proto: create(ModelProtoSchema, { ...proto, graph }) };
}

/** How long `loadEnsemble` of the built package takes, in new processes, in milliseconds. */
function openingTimes(path: string, options: Readonly<Record<string, string>>): readonly number[] {
  const program = `
    const [index, path, options] = process.argv.slice(1);
    const { loadEnsemble } = await import(index);
    const started = performance.now();
    const ensemble = await loadEnsemble(path, JSON.parse(options));
    console.log(performance.now() - started);
    ensemble.dispose();
    process.exit();`;
  const index = join(packageFolder(), 'dist', 'index.js');
  const words = ['--input-type=module', '-e', program, index, path, JSON.stringify(options)];
  return Array.from({ length: openings }, () =>
    Number(execFileSync(process.execPath, words, { encoding: 'utf8' })),
  );
}

/** The generalist in Python's ONNX Runtime, in turns of the same length. */
function inPython(python: string, path: string, shape: readonly number[]): Times {
  const program = `
import json, sys, time
import numpy as np, onnxruntime
path, shape, sizes, rounds, seconds = sys.argv[1], *map(json.loads, sys.argv[2:])
session = onnxruntime.InferenceSession(path)
name = session.get_inputs()[0].name
random = np.random.default_rng(1)
images = {size: random.uniform(0, 1, [size, *shape]).astype(np.float32) for size in sizes}
times = [[] for _ in sizes]
for turn in range(rounds + 1):
    for place, size in enumerate(sizes):
        calls, end = [], time.perf_counter() + seconds
        while len(calls) < ${fewestCalls} or time.perf_counter() < end:
            before = time.perf_counter()
            session.run(['probabilities'], {name: images[size]})
            calls.append(1e6 * (time.perf_counter() - before) / size)
        if turn > 0:
            times[place].append(sorted(calls)[len(calls) // 2])
print(json.dumps(times))
`;
  const words = [shape, batchSizes, Number(flags.rounds), turnMs / 1000].map((value) =>
    JSON.stringify(value),
  );
  return JSON.parse(execFileSync(python, ['-c', program, path, ...words], { encoding: 'utf8' }));
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/** Medians over rounds of what is computed from the times of a round, by batch size. */
function over(rows: readonly Row[], of: (...microseconds: readonly number[]) => number): readonly number[] {
  return batchSizes.map((_, place) =>
    median(rows[0].times[place].map((_, round) => of(...rows.map(({ times }) => times[place][round])))),
  );
}

function page({ machine, comparisons }: Result): string {
  const header = batchSizes.map((size) => `batch of ${size.toLocaleString('en')}`);
  const sections = comparisons.map((comparison) => {
    const { name, classes, specialists, active, shareByOperations, rows, nodes, opened } = comparison;
    const find = (runtime: string, contestant: string) =>
      rows.filter((row) => row.runtime === runtime && row.contestant === contestant);
    const rates = rows
      .filter(({ contestant }) => contestant !== 'routed' && contestant !== 'queried')
      .map((row) => {
        const generalist = find(row.runtime, 'generalist')[0];
        const perSecond = over([row], (time) => 1e6 / time);
        const shares = over([generalist, row], (ours, theirs) => ours / theirs);
        const cells = perSecond.map((rate, place) => {
          const text = Number(rate.toPrecision(3)).toLocaleString('en');
          return row === generalist ? text : `${text} (${shares[place].toFixed(2)})`;
        });
        return [`${row.contestant}, ${row.runtime}`, ...cells];
      });
    const parts = [...new Set(rows.map(({ runtime }) => runtime))].flatMap((runtime) => {
      const all = ['generalist', 'routed', 'queried', 'ensemble'].flatMap((one) => find(runtime, one));
      if (all.length < 4) return [];
      const line = (what: string, values: readonly number[]) => [
        `${what}, ${runtime}`,
        ...values.map((value) => value.toFixed(1)),
      ];
      return [
        line(
          'the generalist',
          over([all[0]], (time) => time),
        ),
        line(
          '+ routing and a copy',
          over([all[0], all[1]], (before, after) => after - before),
        ),
        line(
          '+ the specialists',
          over([all[1], all[2]], (before, after) => after - before),
        ),
        line(
          '+ the fusion',
          over([all[2], all[3]], (before, after) => after - before),
        ),
      ];
    });
    const queried = active === null ? '' : `, of which an image queries ${active.toFixed(2)}`;
    const operations =
      shareByOperations === null
        ? ''
        : ` By operations alone the ensemble would answer at ${shareByOperations.toFixed(2)} of the generalist's rate.`;
    return `## ${name}: ${classes.toLocaleString('en')} classes, ${specialists} specialists

Images a second, in brackets as a share of the generalist's; ${specialists} specialists${queried}.${operations}

${table(['', ...header], rates)}

Microseconds an image:

${table(['', ...header], parts)}

\`loadEnsemble\` in a new process, median of ${openings}: ${opened.map(({ what, ms }) => `${what} ${median(ms).toFixed(0)} ms`).join(', ')}.${nodes === undefined ? '' : ` The generalist's graph has ${nodes.generalist} nodes, the ensemble's ${nodes.ensemble}, and so has *${idleName}*, whose ${nodes.ensemble - nodes.generalist} more compute four numbers each.`}
`;
  });
  return `# What an answer costs

    npm run build && npm run bench:inference -- ${flags.workspace?.map((path) => `--workspace ${basename(path)}`).join(' ')} --rivals ${flags.rivals} --python PYTHON --out docs/results

On somebody else's model with a real backbone, specialists add a few hundredths: [patched.md](patched.md). This page is the
other end: our own networks, so small that specialists weigh as much as the generalist does.

Distributions over all classes, from images in memory. In each of ${flags.rounds} rounds every contestant has a turn of ${turnMs} ms at
each batch size, of which the median call counts; shares are of one round; medians over the rounds. *trace* also returns what
generalist and specialists predict. ${machine.cores} cores of ${machine.processor}, Node ${machine.node}; ${machine.load.toFixed(1)} processes on average wanted a core.

${sections.join('\n')}`;
}

if (flags.workspace === undefined) throw new Error('name a workspace: --workspace PATH');
const comparisons: Comparison[] = [];
for (const [place, workspace] of flags.workspace.entries()) {
  const units = Number(flags.rivals.split(',')[place] ?? 0);
  comparisons.push(await compare(workspace, units > 0 ? units : undefined));
}
const result = { machine: describeMachine(5), batchSizes, comparisons };
if (flags.out === undefined) process.stdout.write(page(result));
else writeResult(flags.out, 'inference', result, page);

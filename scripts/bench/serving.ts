/**
 * The server under load: rate and latency at rising load, twice the load that it sustains, and hostile bodies.
 *
 *     npm run bench:serving -- --workspace PATH [--seconds 5] [--overload-seconds 60] [--hostile 1000] [--out docs/results]
 *
 * `kd-spec serve` runs as a process of its own on loopback, autocannon in this one, so that the two share the machine. The
 * baseline is what a program would do without a server: `Ensemble.classify` in this process, alone on the machine, in
 * batches of 32. `--out` writes serving.md and serving.json there. It fails if an overloaded server gives anything but
 * predictions and 503, if another prediction comes after the hostile bodies than before, or if they leave memory behind.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import autocannon from 'autocannon';
import { packageFolder } from '../../src/core/package.js';
import { createRandom } from '../../src/core/random.js';
import { openDataset } from '../../src/data/dataset.js';
import { examples } from '../../src/data/examples.js';
import { loadEnsemble } from '../../src/ensemble/load-ensemble.js';
import { vastPng } from '../../test/support/vast-png.js';
import { describeMachine, type Machine } from '../machine.js';
import { table } from '../results/format.js';
import { writeResult } from '../results/write-result.js';

const { values } = parseArgs({
  options: {
    workspace: { type: 'string' },
    seconds: { type: 'string', default: '5' },
    'overload-seconds': { type: 'string', default: '60' },
    hostile: { type: 'string', default: '1000' },
    out: { type: 'string' },
  },
});
if (values.workspace === undefined) throw new Error('name a workspace: --workspace PATH');
const workspace = values.workspace;

/** What a load gave. */
interface Load {
  readonly connections: number;
  readonly seconds: number;
  /** Responses by status; `none` where a connection broke or timed out. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Predictions a second. */
  readonly rate: number;
  /** Of predictions, in milliseconds. */
  readonly p50: number;
  readonly p99: number;
  /** Images of a batch, on average. */
  readonly batch: number;
  readonly megabytes: number;
}

interface Result {
  readonly machine: Machine;
  readonly classes: number;
  readonly specialists: number;
  readonly requestBytes: number;
  /** Images a second of `Ensemble.classify`. */
  readonly inProcess: number;
  readonly rising: readonly Load[];
  readonly overload: Load & { readonly offeredRate: number; readonly slowestHealthMs: number };
  readonly hostile: {
    readonly bodies: number;
    readonly outcomes: Readonly<Record<string, Readonly<Record<string, number>>>>;
    readonly sameAfterwards: boolean;
    readonly seconds: number;
  };
  /** Resident memory of the server. */
  readonly megabytes: {
    readonly start: number;
    readonly risen: number;
    readonly overloaded: number;
    /** After each round of hostile bodies. */
    readonly hostile: readonly number[];
  };
}

const megabyte = 2 ** 20;
/**
 * Each sends its next request as soon as it has a response, a refusal too, which waits half a second at most: so many
 * offer about twice what can be predicted. A server takes 2,048.
 */
const overloadConnections = 1920;

/** Some test images, the first as often as the others. */
async function readImages(count: number): Promise<readonly Buffer[]> {
  const { splits } = await openDataset(join(workspace, 'dataset'));
  const images: Buffer[] = [];
  for await (const { bytes } of examples(splits.test)) {
    images.push(Buffer.from(bytes));
    if (images.length === count) break;
  }
  return images;
}

/** Images a second in this process, in batches of 32. */
async function measureInProcess(images: readonly Buffer[]) {
  const ensemble = await loadEnsemble(workspace, { backend: 'wasm' });
  const batch = Array.from({ length: 32 }, (_, index) => images[index % images.length]);
  await ensemble.classify(batch);
  const begin = performance.now();
  let done = 0;
  while (performance.now() - begin < 1000 * Number(values.seconds)) {
    await ensemble.classify(batch);
    done += batch.length;
  }
  const rate = (1000 * done) / (performance.now() - begin);
  const shape = { classes: ensemble.classes.length, specialists: ensemble.specialists.length };
  ensemble.dispose();
  return { rate, ...shape };
}

async function startServer() {
  const program = join(packageFolder(), 'dist', 'cli', 'main.js');
  const words = ['serve', '--port', '0', '--workspace', workspace, '--backend', 'wasm', '--quiet'];
  const child = spawn(process.execPath, [program, ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [chunk] = await once(child.stdout, 'data');
  return { url: String(chunk).trim(), child };
}

/** Metrics of the server by name; those with labels are left out. */
async function readMetrics(url: string): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(new URL('/metrics', url))).text();
  return new Map(
    text
      .split('\n')
      .filter((line) => /^\w+ /.test(line))
      .map((line) => line.split(' '))
      .map(([name, value]) => [name, Number(value)]),
  );
}

const metric = (metrics: ReadonlyMap<string, number>, name: string) => metrics.get(name) ?? 0;

/** Sends images from many connections at once. */
async function load(
  url: string,
  images: readonly Buffer[],
  { connections, seconds }: { connections: number; seconds: number },
): Promise<Load> {
  const before = await readMetrics(url);
  const latencies: number[] = [];
  const statuses: Record<string, number> = {};
  const { errors, timeouts } = await new Promise<autocannon.Result>((resolve, reject) => {
    const options: autocannon.Options = {
      url: new URL('/v1/classify?top=5', url).href,
      connections,
      duration: seconds,
      timeout: 30,
      requests: images.map((body) => ({ method: 'POST', body, headers: { 'content-type': 'image/png' } })),
    };
    const instance = autocannon(options, (error, result) => (error ? reject(error) : resolve(result)));
    instance.on('response', (_client, status, _bytes, ms) => {
      statuses[status] = (statuses[status] ?? 0) + 1;
      if (status === 200) latencies.push(ms);
    });
  });
  if (errors + timeouts > 0) statuses.none = errors + timeouts;
  const after = await readMetrics(url);
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor(share * (latencies.length - 1))] ?? 0;
  const since = (name: string) => metric(after, name) - metric(before, name);
  return {
    connections,
    seconds,
    statuses,
    rate: latencies.length / seconds,
    p50: at(0.5),
    p99: at(0.99),
    batch: since('kd_spec_batch_images_sum') / Math.max(1, since('kd_spec_batch_images_count')),
    megabytes: metric(after, 'process_resident_memory_bytes') / megabyte,
  };
}

/** The slowest response of /healthz while some work goes on, asked by a thread that does nothing else. */
async function slowestHealth<T>(
  url: string,
  work: Promise<T>,
): Promise<{ readonly value: T; readonly ms: number }> {
  const probe = new Worker(new URL('./health-probe.mjs', import.meta.url), { workerData: url });
  const [value, [ms]] = await Promise.all([
    work.finally(() => probe.postMessage('done')),
    once(probe, 'message'), // rejects when the thread fails
  ]);
  return { value, ms };
}

/** Kinds of bodies that nobody sends in good faith. Each sends one, and tells the status that came. */
function hostileKinds(url: string, image: Buffer): Readonly<Record<string, () => Promise<string>>> {
  const random = createRandom('hostile');
  const { port } = new URL(url);
  const vast = vastPng(20_000); // 400 million pixels
  const large = vastPng(7_000); // 49 million: within the limit, and has to be decoded
  const post = async (body: Buffer, type = 'image/png') => {
    const response = await fetch(new URL('/v1/classify', url), {
      method: 'POST',
      body: new Uint8Array(body),
      headers: { 'content-type': type },
    });
    await response.arrayBuffer();
    return String(response.status);
  };
  /** What comes on a connection for some bytes, some of which may come again and again. */
  const raw = (head: string, more?: Buffer, everyMs = 0) =>
    new Promise<string>((resolve) => {
      const socket = connect(Number(port), '127.0.0.1');
      let text = '';
      const end = () => {
        clearInterval(timer);
        socket.destroy();
        resolve(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 'closed');
      };
      const timer = setInterval(() => {
        if (more && !socket.destroyed && socket.writableLength < megabyte) socket.write(more);
      }, everyMs);
      socket.on('data', (chunk) => {
        text += chunk;
        end();
      });
      socket.on('close', end);
      socket.on('error', end);
      socket.write(head);
    });
  const head = (lines: string) =>
    `POST /v1/classify HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/png\r\n${lines}`;
  const noise = () => Buffer.from(Array.from({ length: 2000 }, () => random.below(256)));
  const parts = Buffer.from(
    `${'--x\r\ncontent-disposition: form-data; name="a"; filename="a"\r\n\r\na\r\n'.repeat(5000)}--x--\r\n`,
  );
  return {
    'a bomb: 400 million pixels in a small file': () => post(vast),
    '49 million pixels, within the limit': () => post(large),
    'a PNG that is cut off': () =>
      post(image.subarray(0, Math.floor(image.length * (0.2 + 0.7 * random.uniform())))),
    'a PNG with flipped bytes': () => {
      const damaged = Buffer.from(image);
      for (let flips = 0; flips < 8; flips++) damaged[random.below(damaged.length)] ^= 1 + random.below(255);
      return post(damaged);
    },
    'noise behind a signature of PNG': () => post(Buffer.concat([image.subarray(0, 8), noise()])),
    'an SVG that nests': () =>
      post(
        Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg">${'<g filter="url(#f)">'.repeat(2000)}</svg>`),
        'image/svg+xml',
      ),
    'text, as JSON and as an image': () =>
      post(Buffer.from('{}'), random.uniform() < 0.5 ? 'application/json' : 'image/png'),
    'a form of 5,000 files': () => post(parts, 'multipart/form-data; boundary=x'),
    'a form without end': () =>
      post(Buffer.from('--x\r\ncontent-disposition: form-data'), 'multipart/form-data; boundary=x'),
    'a body of 25 MB': () => post(Buffer.alloc(25 * 10 ** 6)),
    'a body without end': () =>
      raw(head('transfer-encoding: chunked\r\n\r\n'), Buffer.from(`10000\r\n${'x'.repeat(65_536)}\r\n`)),
    'a length that is not kept': () => raw(head('content-length: 100\r\n\r\nabc'), Buffer.from('x'), 5000),
    'a header a byte at a time': () => raw('POST /v1/classify HTTP/1.1\r\n', Buffer.from('a'), 1000),
    'headers of 40 kB': () => raw(head(`x: ${'y'.repeat(40_000)}\r\n\r\n`)),
    'what is no HTTP': () => raw(`${noise().toString('latin1')}\r\n\r\n`),
  };
}

/** The slow ones wait for a time limit of the server: a few of them, all at once. */
const slowKinds = ['a length that is not kept', 'a header a byte at a time'];
const slowEach = 10; // in a round
const hostileRounds = 4;
const atOnce = 16;

/** @param outcomes are added to */
async function hostile(
  url: string,
  image: Buffer,
  bodies: number,
  outcomes: Record<string, Record<string, number>>,
): Promise<Pick<Result['hostile'], 'sameAfterwards' | 'seconds'>> {
  const kinds = hostileKinds(url, image);
  const note = async (name: string) => {
    const status = await kinds[name]().catch((error: Error) => error.name);
    outcomes[name] ??= {};
    outcomes[name][status] = (outcomes[name][status] ?? 0) + 1;
  };
  const classify = async () => {
    const response = await fetch(new URL('/v1/classify', url), {
      method: 'POST',
      body: new Uint8Array(image),
      headers: { 'content-type': 'image/png' },
    });
    return response.text();
  };
  const expected = await classify();
  const begin = performance.now();
  const slow = slowKinds.flatMap((name) => Array.from({ length: slowEach }, () => note(name)));
  const quick = Object.keys(kinds).filter((name) => !slowKinds.includes(name));
  let next = 0;
  const send = async () => {
    while (next < bodies - slow.length) await note(quick[next++ % quick.length]);
  };
  await Promise.all([...slow, ...Array.from({ length: atOnce }, send)]);
  const seconds = (performance.now() - begin) / 1000;
  return { sameAfterwards: (await classify()) === expected, seconds };
}

async function residentMegabytes(url: string): Promise<number> {
  return metric(await readMetrics(url), 'process_resident_memory_bytes') / megabyte;
}

const mostGrowth = 150; // megabytes, from the second round of hostile bodies to the last

/** What a server must not do under any load. */
function problemsOf({ rising, overload, hostile, megabytes }: Result): readonly string[] {
  const odd = [...rising, overload].flatMap(({ statuses }) =>
    Object.keys(statuses).filter((status) => status !== '200' && status !== '503'),
  );
  return [
    ...odd.map((status) => `under load a request ended with ${status}, expected 200 or 503`),
    ...(hostile.sameAfterwards ? [] : ['after hostile bodies a sound image gets another prediction']),
    ...Object.entries(hostile.outcomes).flatMap(([name, statuses]) =>
      Object.keys(statuses)
        .filter((status) => !/^([24]\d\d|503|closed)$/.test(status))
        .map((status) => `${name}: ended with ${status}`),
    ),
    ...(Number(megabytes.hostile.at(-1)) - megabytes.hostile[1] < mostGrowth
      ? []
      : [`memory grew under hostile bodies: ${megabytes.hostile.map(Math.round).join(', ')} MB`]),
  ];
}

function page(result: Result): string {
  const { machine, rising, overload, hostile, megabytes, inProcess } = result;
  const whole = (value: number) => Math.round(value).toLocaleString('en');
  const best = Math.max(...rising.map(({ rate }) => rate));
  const counts = (statuses: Readonly<Record<string, number>>) =>
    Object.entries(statuses)
      .map(([status, count]) => `${whole(count)} × ${status}`)
      .join(', ');
  return `# Serving under load

    npm run quickstart && npm run bench:serving -- --workspace kd-workspace --out docs/results

\`kd-spec serve\` on loopback, backend wasm, with its default limits: batches of up to 32 images, a queue of 256. The ensemble has
${whole(result.classes)} classes and ${result.specialists} specialists; a request is a PNG of ${result.requestBytes} bytes and gets the predictions of
generalist, ensemble and specialists. Server and load generator share ${machine.cores} cores of ${machine.processor}, Node
${machine.node}; ${machine.load.toFixed(1)} processes on average wanted a core during the run${machine.load > machine.cores + 2 ? ', so that other work took most of the machine: compare the rows of one run' : ''}.

In one process without a server, \`Ensemble.classify\` in batches of 32: ${whole(inProcess)} images a second, ${(best / inProcess).toFixed(2)} of which the server reaches.

## Rising load

${table(
  [
    'connections',
    'predictions a second',
    'of the best',
    'p50, ms',
    'p99, ms',
    'images of a batch',
    'other than 200',
  ],
  rising.map((row) => [
    row.connections,
    whole(row.rate),
    (row.rate / best).toFixed(2),
    whole(row.p50),
    whole(row.p99),
    row.batch.toFixed(1),
    counts(Object.fromEntries(Object.entries(row.statuses).filter(([status]) => status !== '200'))) || 'none',
  ]),
)}

## More than it can do

${whole(overload.offeredRate)} requests a second from ${overload.connections} connections for ${overload.seconds} s, ${(overload.offeredRate / overload.rate).toFixed(1)} times what was predicted meanwhile: ${counts(overload.statuses)}.
${whole(overload.rate)} predictions a second, ${(overload.rate / best).toFixed(2)} of the best; p50 ${whole(overload.p50)} ms, p99 ${whole(overload.p99)} ms of those that were predicted. The slowest \`/healthz\` took ${whole(overload.slowestHealthMs)} ms.

## Hostile bodies

${whole(hostile.bodies)} in ${whole(hostile.seconds)} s, ${atOnce} at a time, in ${hostileRounds} rounds, each with ${slowKinds.length * slowEach} connections that send next to nothing. Afterwards a sound image gets ${hostile.sameAfterwards ? 'the same prediction as before' : '**another prediction than before**'}.

${table(
  ['body', 'status, how often'],
  Object.entries(hostile.outcomes).map(([name, statuses]) => [name, counts(statuses)]),
)}

408 and \`closed\` are the server's time limits for headers and bodies; a damaged file that still decodes gets 200.

## Memory

${whole(megabytes.start)} MB after the first request, ${whole(megabytes.risen)} MB after the rising load, ${whole(megabytes.overloaded)} MB after the overload, ${megabytes.hostile.map(whole).join(', ')} MB
after the ${hostileRounds} rounds of hostile bodies.
`;
}

const images = await readImages(64);
const { rate: inProcess, classes, specialists } = await measureInProcess(images);
const { url, child } = await startServer();
try {
  await load(url, images, { connections: 8, seconds: 2 }); // compiles what runs again and again
  const start = await residentMegabytes(url);
  const rising: Load[] = [];
  for (const connections of [1, 2, 4, 8, 16, 32, 64, 128])
    rising.push(await load(url, images, { connections, seconds: Number(values.seconds) }));
  const risen = await residentMegabytes(url);
  const { value: overload, ms } = await slowestHealth(
    url,
    load(url, images, { connections: overloadConnections, seconds: Number(values['overload-seconds']) }),
  );
  const overloaded = await residentMegabytes(url);
  const bodies = Number(values.hostile);
  const outcomes: Record<string, Record<string, number>> = {};
  const rounds: { sameAfterwards: boolean; seconds: number; megabytes: number }[] = [];
  for (let round = 0; round < hostileRounds; round++) {
    const found = await hostile(url, images[0], bodies / hostileRounds, outcomes);
    rounds.push({ ...found, megabytes: await residentMegabytes(url) });
  }
  const result: Result = {
    machine: describeMachine(5),
    classes,
    specialists,
    requestBytes: Math.round(images.reduce((sum, { length }) => sum + length, 0) / images.length),
    inProcess,
    rising,
    overload: {
      ...overload,
      offeredRate: Object.values(overload.statuses).reduce((sum, count) => sum + count) / overload.seconds,
      slowestHealthMs: ms,
    },
    hostile: {
      bodies,
      outcomes,
      sameAfterwards: rounds.every(({ sameAfterwards }) => sameAfterwards),
      seconds: rounds.reduce((sum, { seconds }) => sum + seconds, 0),
    },
    megabytes: { start, risen, overloaded, hostile: rounds.map(({ megabytes }) => megabytes) },
  };
  for (const problem of problemsOf(result)) {
    process.stderr.write(`${problem}\n`);
    process.exitCode = 1;
  }
  if (values.out === undefined) process.stdout.write(page(result));
  else writeResult(values.out, 'serving', result, page);
} finally {
  child.kill('SIGTERM');
  await once(child, 'close');
}

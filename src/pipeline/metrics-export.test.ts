import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { silentLog } from '../core/log.js';
import {
  MetricsExport,
  type MetricsSink,
  mlflowSink,
  type NewMetrics,
  tensorboardSink,
} from './metrics-export.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-metrics-'));
  return () => rm(folder, { recursive: true, force: true });
});

const line = (step: number, loss: number) =>
  `${JSON.stringify({ step, loss, epoch: step, validationTop1: 0.5 })}\n`;

test('every whole line is exported once, from any process, wherever the file is moved', async () => {
  const seen: NewMetrics[] = [];
  const sink: MetricsSink = {
    write: async (metrics) => void seen.push(...metrics),
    finish: async () => {},
  };
  await using following = new MetricsExport('specialists', folder, [sink], silentLog);
  const unfinished = join(folder, '.partial', '3');
  await mkdir(unfinished, { recursive: true });
  await writeFile(join(unfinished, 'metrics.jsonl'), `${line(1, 3)}{"step": 2, "lo`);
  await following.collect();
  await writeFile(join(unfinished, 'metrics.jsonl'), line(1, 3) + line(2, 2));
  await following.collect();
  await mkdir(join(folder, '3'));
  await writeFile(join(folder, '3', 'metrics.jsonl'), line(1, 3) + line(2, 2) + line(3, 1));
  await rm(unfinished, { recursive: true });
  await following.collect();
  expect(seen.map(({ run, step, values }) => [run, step, values.loss])).toEqual([
    ['specialists/3', 1, 3],
    ['specialists/3', 2, 2],
    ['specialists/3', 3, 1],
  ]);
});

test('a sink that fails is told of once, and stops nothing', async () => {
  const warnings: string[] = [];
  const log = { ...silentLog, warn: (message: string) => void warnings.push(message) };
  const sink = mlflowSink('http://127.0.0.1:1', { experiment: 'none' });
  await using following = new MetricsExport('generalist', folder, [sink], log);
  await appendFile(join(folder, 'metrics.jsonl'), line(1, 3));
  await following.collect();
  await appendFile(join(folder, 'metrics.jsonl'), line(2, 2));
  await following.finish({ parameters: {}, metrics: {} });
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain('no MLflow server at http://127.0.0.1:1');
});

test('event files are records with their lengths', async () => {
  const sink = tensorboardSink(folder);
  await sink.write([{ run: 'generalist', step: 300, values: { loss: 1.5, validationTop1: 0.25 } }]);
  await sink.finish('generalist', {
    parameters: {},
    metrics: { epochs: 3, sweep: [{ loss: 1 }], check: { top1: 0.5 } },
  });
  const [name] = await readdir(join(folder, 'generalist'));
  const bytes = await readFile(join(folder, 'generalist', name));
  const contents: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    contents.push(bytes.subarray(at + 12, at + 12 + length));
    at += 16 + length;
  }
  const texts = contents.map((content) => content.toString('latin1'));
  expect(texts[0]).toContain('brain.Event:2');
  expect(texts.slice(1).map((text) => /loss|validationTop1|result\/[\w.]+/.exec(text)?.[0])).toEqual([
    'loss',
    'validationTop1',
    'result/epochs',
    'result/check.top1',
  ]);
  expect(contents[1].subarray(-4).readFloatLE()).toBe(1.5);
});

test('an MLflow server gets one run for each training, with metrics, settings and its end', async () => {
  const requests: { readonly path: string; readonly body: Record<string, unknown> }[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', () => {
      const path = (request.url ?? '').replace('/api/2.0/mlflow/', '').replace(/\?.*/, '');
      requests.push({ path, body: JSON.parse(text || '{}') });
      response.statusCode = path === 'experiments/get-by-name' ? 404 : 200;
      const runs = requests.filter((one) => one.path === 'runs/create').length;
      response.end(JSON.stringify({ experiment_id: '7', run: { info: { run_id: `run-${runs}` } } }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const sink = mlflowSink(`http://127.0.0.1:${port}/`, { experiment: 'mine' });
    await sink.write([{ run: 'specialists/2', step: 4, values: { loss: 1.5 } }]);
    await sink.finish('specialists', { parameters: { epochs: 3 }, metrics: { trainingSeconds: 9 } });
  } finally {
    server.close();
  }
  const of = (path: string) => requests.filter((one) => one.path === path).map(({ body }) => body);
  expect(of('experiments/create')).toEqual([{ name: 'mine' }]);
  expect(of('runs/create').map(({ run_name }) => run_name)).toEqual(['specialists/2', 'specialists']);
  expect(of('runs/log-batch')).toMatchObject([
    { run_id: 'run-1', metrics: [{ key: 'loss', value: 1.5, step: 4 }] },
    { run_id: 'run-2', params: [{ key: 'epochs', value: '3' }] },
    { run_id: 'run-2', metrics: [{ key: 'result.trainingSeconds', value: 9 }] },
  ]);
  expect(of('runs/update').map(({ status }) => status)).toEqual(['FINISHED', 'FINISHED']);
});

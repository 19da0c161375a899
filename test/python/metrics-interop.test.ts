import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLog } from '../../src/core/log.js';
import {
  MetricsExport,
  type MetricsSink,
  mlflowSink,
  tensorboardSink,
} from '../../src/pipeline/metrics-export.js';

/** The interpreter of an environment with `tensorboard` and `mlflow`; `scripts/python-interop.sh` makes one. */
const python = process.env.TEST_PYTHON;
const script = join(import.meta.dirname, 'metrics_interop.py');

describe.skipIf(!python)('metrics arrive as they were written', () => {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'kd-spec-metrics-'));
    await mkdir(join(root, 'work', '0'), { recursive: true });
    const line = (step: number, loss: number) => `${JSON.stringify({ epoch: step / 300, step, loss })}\n`;
    await writeFile(join(root, 'work', '0', 'metrics.jsonl'), line(300, 2.5) + line(600, 1.25));
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  const ask = (...words: readonly string[]) =>
    JSON.parse(
      execFileSync(python ?? '', [script, ...words], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }),
    );

  async function send(sink: MetricsSink) {
    const warnings: string[] = [];
    const log = { ...silentLog, warn: (message: string) => void warnings.push(message) };
    await using following = new MetricsExport('specialists', join(root, 'work'), [sink], log);
    await following.collect();
    await following.finish({ parameters: { epochs: 2, dense: [24] }, metrics: { trainingSeconds: 9.5 } });
    expect(warnings).toEqual([]);
  }

  test('in TensorBoard', async () => {
    const folder = join(root, 'tensorboard');
    await send(tensorboardSink(folder));
    expect(ask('tensorboard', folder)).toEqual({
      'specialists/0': {
        epoch: [
          [300, 1],
          [600, 2],
        ],
        loss: [
          [300, 2.5],
          [600, 1.25],
        ],
      },
      specialists: { 'result/trainingSeconds': [[0, 9.5]] },
    });
  });

  test('in MLflow', async () => {
    const port = await freePort();
    const server = spawn(python ?? '', [script, 'serve', root, String(port)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    try {
      await once(server.stdout, 'data');
      const url = `http://127.0.0.1:${port}`;
      await send(mlflowSink(url, { experiment: 'kd-spec test' }));
      expect(ask('mlflow', url, 'kd-spec test')).toMatchObject({
        'specialists/0': {
          status: 'FINISHED',
          metrics: {
            loss: [
              [300, 2.5],
              [600, 1.25],
            ],
          },
        },
        specialists: {
          status: 'FINISHED',
          params: { epochs: '2', dense: '[24]' },
          metrics: { 'result.trainingSeconds': [[0, 9.5]] },
        },
      });
    } finally {
      server.stdin.end();
      await once(server, 'exit');
    }
  }, 600_000);
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  return typeof address === 'object' && address ? address.port : 0;
}

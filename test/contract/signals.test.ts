import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { contractBackends } from '../support/contract-backends.js';

// TensorFlow's MatMul lost its stack to signals (its sgemm, 2.21): a SIGTERM during a step ended in a corrupted heap.

/** Multiplies forwards and backwards until told to end, and counts the signals that it receives. */
const program = (backend: string) => `
  import { selectBackend } from './dist/compute/backend.js';
  const { operations } = await selectBackend('${backend}');
  let [received, isOver] = [0, false];
  process.on('SIGUSR2', () => received++);
  process.on('SIGTERM', () => { isOver = true; });
  const random = (length) => Float32Array.from({ length }, Math.random);
  const x = operations.tensor(random(512 * 512), [512, 512]);
  const weights = operations.variable(random(512 * 32), [512, 32]);
  const loss = () => operations.sum(operations.dense(x, weights, undefined));
  const step = () => operations.tidy(() => operations.valueAndGradients(loss, [weights]).gradients);
  console.log('ready');
  while (!isOver) {
    operations.dispose(step());
    await new Promise(setImmediate);
  }
  console.log(received);
  process.exit(0);
`;

test.each(await contractBackends())(
  'signals that arrive during products do no harm on %s',
  async (backend) => {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program(backend)], {
      env: { ...process.env, TF_NUM_INTRAOP_THREADS: '1' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.on('data', (chunk) => {
      said += chunk;
    });
    const end = once(child, 'exit');
    await once(child.stdout, 'data');
    const until = Date.now() + 1500;
    while (Date.now() < until && child.exitCode === null) {
      child.kill('SIGUSR2');
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    child.kill('SIGTERM');
    expect(await end).toEqual([0, null]);
    expect(Number(said.trim().split('\n').at(-1))).toBeGreaterThan(5);
  },
  60_000,
);

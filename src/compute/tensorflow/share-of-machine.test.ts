import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import { shareOfMachine } from './backend.js';

test('the threads of all processes are no more than the cores, but one each', () => {
  const cores = availableParallelism();
  expect(shareOfMachine(1, {})).toEqual({ TF_NUM_INTRAOP_THREADS: String(cores) });
  expect(shareOfMachine(cores, {})).toEqual({ TF_NUM_INTRAOP_THREADS: '1' });
  expect(shareOfMachine(100 * cores, {})).toEqual({ TF_NUM_INTRAOP_THREADS: '1' });
});

test('a number of threads that the user chose stays', () => {
  expect(shareOfMachine(2, { TF_NUM_INTRAOP_THREADS: '3' })).toEqual({ TF_NUM_INTRAOP_THREADS: '3' });
});

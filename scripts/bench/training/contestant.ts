/**
 * One side of `npm run bench:training`, a process of its own: takes as many steps as each line of its standard input
 * says, and answers with the time that they took and the most memory so far.
 *
 *     npx tsx scripts/bench/training/contestant.ts shipped|wasm|tensorflow WORKLOAD
 */
import { createInterface } from 'node:readline';
import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-wasm';
import { type BackendName, selectBackend } from '../../../src/compute/backend.js';
import { supplyFilterGradient } from './filter-gradient.js';
import { ourStep } from './our-step.js';
import { shippedStep } from './shipped-step.js';
import { workloads } from './workload.js';

const [side, position] = process.argv.slice(2);
const workload = workloads[Number(position)];

const shippedIdentity = tf.getKernel('Identity', 'wasm');
const { operations } = await selectBackend(side === 'shipped' ? 'wasm' : (side as BackendName));
if (side === 'shipped') {
  tf.unregisterKernel('Identity', 'wasm');
  tf.registerKernel(shippedIdentity);
  supplyFilterGradient();
}
const step = side === 'shipped' ? shippedStep(workload) : ourStep(operations, workload);

for await (const line of createInterface({ input: process.stdin })) {
  const [used, start] = [process.cpuUsage(), performance.now()];
  for (let count = Number(line); count > 0; count--) await step();
  const { user, system } = process.cpuUsage(used);
  console.log(
    JSON.stringify({
      seconds: (performance.now() - start) / 1000,
      processorSeconds: (user + system) / 1e6,
      peakBytes: 1024 * process.resourceUsage().maxRSS,
    }),
  );
}

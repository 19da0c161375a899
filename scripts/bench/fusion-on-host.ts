/**
 * Fusion where a backend's memory is not the host's: with the kernel of WebAssembly on memory of its own, and without
 * it, in turn, in this one process. Microseconds an image, medians over rounds.
 *
 *     npx tsx scripts/bench/fusion-on-host.ts [--backend webgpu] [--classes 15000] [--rounds 15]
 *
 * Distributions lie on the host, as they do once they have been read; each image has three specialists.
 */
import { parseArgs } from 'node:util';
import { type BackendName, selectBackend } from '../../src/compute/backend.js';
import { createRandom } from '../../src/core/random.js';
import { createFusion } from '../../src/ensemble/inference.js';
import { softmax } from '../../src/math/softmax.js';

const { values: flags } = parseArgs({
  options: {
    backend: { type: 'string', default: 'webgpu' },
    classes: { type: 'string', default: '15000' },
    rounds: { type: 'string', default: '15' },
  },
});
const [classCount, rounds] = [Number(flags.classes), Number(flags.rounds)];
const [images, active] = [64, 3];
const { operations } = await selectBackend(flags.backend as BackendName);
const random = createRandom(1, 'fusion on host');

for (const size of [30, 100, 300]) {
  const subsets = Array.from({ length: active }, (_, m) => ({
    classes: Array.from({ length: size }, (_, i) => (m * size) / 2 + i),
  }));
  const settings = {
    rule: 'combine',
    generalistTemperature: 1,
    specialists: subsets.map((_, id) => ({ id, temperature: 1.2, weight: 1, kept: true })),
  };
  const normal = (length: number) => Float32Array.from({ length }, () => 3 * random.normal());
  const distributions = Array.from({ length: images }, () => Float32Array.from(softmax(normal(classCount))));
  const predictions = distributions.map(() =>
    subsets.map((_, position) => ({ position, logits: normal(size + 1), correction: 0 })),
  );
  const fusions = {
    kernel: createFusion(operations, subsets, settings, classCount),
    javascript: createFusion(
      { ...operations, geometricMean: () => undefined },
      subsets,
      settings,
      classCount,
    ),
  };
  const times = { kernel: [] as number[], javascript: [] as number[] };
  const fused = { kernel: new Float32Array(), javascript: new Float32Array() };
  for (let round = -2; round < rounds; round++) {
    for (const form of ['kernel', 'javascript'] as const) {
      const copies = distributions.map((q) => q.slice());
      const start = performance.now();
      for (const [image, q] of copies.entries()) fusions[form].fuse(q, predictions[image]);
      if (round >= 0) times[form].push((1000 * (performance.now() - start)) / images);
      fused[form] = copies[0];
    }
  }
  const [kernel, javascript] = [median(times.kernel), median(times.javascript)];
  const apart = fused.kernel.reduce((most, p, i) => Math.max(most, Math.abs(p - fused.javascript[i])), 0);
  console.log(
    `${active} specialists of ${size} of ${classCount} classes: ${kernel.toFixed(1)} us an image with the kernel, ` +
      `${javascript.toFixed(1)} us without, ${(javascript / kernel).toFixed(1)} times as long; ` +
      `probabilities apart by ${apart.toExponential(1)}`,
  );
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

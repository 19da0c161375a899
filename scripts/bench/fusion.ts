/**
 * Fusion of one image: ours against the paper's gradient descent on logits, in the same run.
 *
 *   npx tsx scripts/bench/fusion.ts [--seconds 5]
 *
 * For 1, 3 and 10 overlapping specialists of 300 classes, at 15,000 and 1,000,000 classes: microseconds an
 * image with a reused fuser, and gradient descent to the same objective within 1e-6. Where descent does not
 * get there within the time, its ratio is a lower bound and says how far it was still off. `copy` is a plain
 * loop that sums the generalist and another that writes it, divided by the sum: for scale.
 */
import { parseArgs } from 'node:util';
import { createRandom, type Random } from '../../src/core/random.js';
import { createFuser } from '../../src/ensemble/fusion.js';
import type { SpecialistAnswer } from '../../src/ensemble/fusion-input.js';
import { fuseByGradientDescent } from '../../src/ensemble/fusion-reference.js';

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '5' } } });
const timeoutMs = 1000 * Number(values.seconds);
const subsetSize = 300;
const precision = 1e-6; // nats

/** A softmax of normal logits with a spread of 3: a few classes hold most of the mass. */
function softmax(random: Random, size: number): Float64Array {
  const e = Float64Array.from({ length: size }, () => Math.exp(3 * random.normal()));
  const sum = e.reduce((total, value) => total + value, 0);
  return e.map((value) => value / sum);
}

/** Specialists that overlap by half: each takes 300 of 150 (M + 1) classes in a row. */
function specialistsOf(random: Random, count: number): SpecialistAnswer[] {
  return Array.from({ length: count }, (_, m) => ({
    classes: Int32Array.from({ length: subsetSize }, (_, i) => (m * subsetSize) / 2 + i),
    probabilities: softmax(random, subsetSize + 1),
  }));
}

/** Microseconds a call: the best of many short rounds, so that other programs on the machine count little. */
function timeMicroseconds(call: () => void): number {
  const warmUntil = performance.now() + 300;
  while (performance.now() < warmUntil) call();
  const roundMs = 2;
  let best = Number.POSITIVE_INFINITY;
  for (let trial = 0; trial < 200; trial++) {
    const start = performance.now();
    let calls = 0;
    let elapsed = 0;
    do {
      call();
      calls++;
      elapsed = performance.now() - start;
    } while (elapsed < roundMs);
    best = Math.min(best, (elapsed * 1000) / calls);
  }
  return best;
}

console.log('classes     specialists  ours us  steps  copy us  descent us     steps  ratio');
for (const classCount of [15_000, 1_000_000]) {
  for (const count of [1, 3, 10]) {
    const random = createRandom(1, 'bench', classCount, count);
    const generalist = softmax(random, classCount);
    const specialists = specialistsOf(random, count);
    const fuser = createFuser(classCount);
    const out = new Float64Array(classCount);

    const { objective, iterations } = fuser(generalist, specialists, { out });
    const ours = timeMicroseconds(() => fuser(generalist, specialists, { out }));
    const copy = timeMicroseconds(() => {
      let sum = 0;
      for (let c = 0; c < classCount; c++) sum += generalist[c];
      for (let c = 0; c < classCount; c++) out[c] = generalist[c] / sum;
    });

    const start = performance.now();
    const descent = fuseByGradientDescent(generalist, specialists, {
      maxSteps: Number.POSITIVE_INFINITY,
      targetObjective: objective + precision,
      timeoutMs,
    });
    const descentUs = (performance.now() - start) * 1000;
    const excess = descent.objective - objective;
    const reached = excess <= precision;
    const ratio = Math.round(descentUs / ours).toLocaleString('en');
    console.log(
      [
        classCount.toLocaleString('en').padEnd(12),
        String(count).padEnd(12),
        ours.toFixed(1).padStart(8),
        String(iterations).padStart(7),
        copy.toFixed(1).padStart(9),
        Math.round(descentUs).toLocaleString('en').padStart(12),
        String(descent.iterations).padStart(10),
        `  ${reached ? ratio : `over ${ratio} (still ${excess.toExponential(1)} nats off)`}`,
      ].join(''),
    );
  }
}

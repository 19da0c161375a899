/**
 * Fusion of one image: ours against the paper's gradient descent on logits, in the same run.
 *
 *     npx tsx scripts/bench/fusion.ts [--json] [--seconds 30]
 *
 * For 1, 3 and 10 overlapping specialists of 300 classes, at 15,000 and 1,000,000 classes: microseconds an
 * image with a reused fuser and output. `copy` is a plain loop that sums the generalist and another that
 * writes it, divided by the sum: for scale. Two runs of gradient descent stand beside it: until no probability is
 * off by more than 1e-3, and until the objective is within 1e-6 nats of the minimum.
 * A run that does not get there within `--seconds` gives a lower bound. Then `--cases` random problems of ten
 * overlapping specialists: the most Newton steps of any, and the greatest residual of the fixed point.
 *
 * Descent is timed by the processor's clock and a fused image by the best of many short rounds, so that other
 * programs on the machine count little.
 */
import { availableParallelism, cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { createRandom, type Random } from '../../src/core/random.js';
import type { SpecialistPrediction } from '../../src/ensemble/rules/distributions.js';
import { createFuser, fuse } from '../../src/ensemble/rules/paper.js';
import { fuseByGradientDescent, objectiveAt } from '../../test/support/fusion-reference.js';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '30' },
    cases: { type: 'string', default: '10000' },
  },
});
const descentSeconds = Number(values.seconds);
const subsetSize = 300;
const greatestDeviation = 1e-3;
const greatestExcess = 1e-6; // nats

/** A softmax of normal logits with a spread of 3: a few classes hold most of the mass. */
function softmax(random: Random, size: number): Float64Array {
  const e = Float64Array.from({ length: size }, () => Math.exp(3 * random.normal()));
  const sum = e.reduce((total, value) => total + value, 0);
  return e.map((value) => value / sum);
}

/** Specialists that overlap by half: each takes 300 of 150 (M + 1) classes in a row. */
function specialistsOf(random: Random, count: number): SpecialistPrediction[] {
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

/** Gradient descent until it is good enough, or the time is over. */
function descend(
  generalist: Float64Array,
  specialists: readonly SpecialistPrediction[],
  until: (q: Float64Array) => boolean,
  checkEvery: number,
) {
  const started = process.cpuUsage();
  const seconds = () => {
    const { user, system } = process.cpuUsage(started);
    return (user + system) / 1e6;
  };
  const { probabilities, iterations } = fuseByGradientDescent(generalist, specialists, {
    maxSteps: Number.POSITIVE_INFINITY,
    until: (q) => until(q) || seconds() > descentSeconds,
    checkEvery,
  });
  return { seconds: seconds(), steps: iterations, reached: until(probabilities) };
}

function measure(classCount: number, count: number) {
  const random = createRandom(1, 'bench', classCount, count);
  const generalist = softmax(random, classCount);
  const specialists = specialistsOf(random, count);
  const fuser = createFuser(classCount);
  const out = new Float64Array(classCount);
  const { probabilities, objective, iterations } = fuse(generalist, specialists);
  const fuseUs = timeMicroseconds(() => fuser(generalist, specialists, { out }));
  const copyUs = timeMicroseconds(() => {
    let sum = 0;
    for (let c = 0; c < classCount; c++) sum += generalist[c];
    for (let c = 0; c < classCount; c++) out[c] = generalist[c] / sum;
  });
  const isClose = (q: Float64Array) => {
    for (let c = 0; c < classCount; c++) {
      if (Math.abs(q[c] - probabilities[c]) > greatestDeviation) return false;
    }
    return true;
  };
  const isLow = (q: Float64Array) => objectiveAt(q, generalist, specialists) <= objective + greatestExcess;
  return {
    classes: classCount,
    specialists: count,
    fuseUs,
    newtonSteps: iterations,
    copyUs,
    descents: [
      descend(generalist, specialists, isClose, 1),
      descend(generalist, specialists, isLow, 20), // the objective costs as much as a step
    ],
  };
}

/**
 * Newton's steps and residuals over random problems: ten specialists of any overlap over 60 classes, masses and
 * weights spread over up to twelve and six powers of ten, a fifth of the masses zero.
 */
function solveCases(count: number) {
  let mostSteps = 0;
  let greatestResidual = 0;
  for (let problem = 0; problem < count; problem++) {
    const random = createRandom(2, 'bench-cases', problem);
    const decades = 12 * random.uniform();
    const distribution = (size: number) => {
      const masses = Float64Array.from({ length: size }, () =>
        random.uniform() < 0.2 ? 0 : 10 ** (-decades * random.uniform()),
      );
      masses[size - 1] += 1e-3; // the last class lies in no subset: every problem is feasible
      const sum = masses.reduce((total, mass) => total + mass, 0);
      return masses.map((mass) => mass / sum);
    };
    const generalist = distribution(60);
    const specialists = Array.from({ length: 10 }, () => {
      const share = random.uniform();
      const classes = Int32Array.from([...Array(59).keys()].filter(() => random.uniform() < share));
      const weight = 10 ** (6 * (random.uniform() - 0.5));
      return { classes, probabilities: distribution(classes.length + 1), weight };
    });
    const { probabilities: q, iterations } = fuse(generalist, specialists);
    mostSteps = Math.max(mostSteps, iterations);
    greatestResidual = Math.max(greatestResidual, fixedPointResidual(q, generalist, specialists));
  }
  return { cases: count, mostSteps, greatestResidual };
}

/** How far q is from `W q_i = w_g p_i + sum of w_m p^m_i + q_i (sum of r_m)`, as a share of W. */
function fixedPointResidual(
  q: Float64Array,
  generalist: Float64Array,
  specialists: readonly (SpecialistPrediction & { readonly weight: number })[],
): number {
  const right = Float64Array.from(generalist);
  let total = 1;
  for (const { classes, probabilities, weight } of specialists) {
    total += weight;
    const isInside = new Uint8Array(q.length);
    classes.forEach((label, k) => {
      isInside[label] = 1;
      right[label] += weight * probabilities[k];
    });
    const outside = q.reduce((sum, mass, label) => (isInside[label] === 1 ? sum : sum + mass), 0);
    const rate = (weight * probabilities[classes.length]) / outside;
    q.forEach((mass, label) => {
      if (isInside[label] === 0) right[label] += rate * mass;
    });
  }
  return q.reduce((most, mass, label) => Math.max(most, Math.abs(right[label] / total - mass)), 0);
}

const load = loadavg()[0];
const newton = solveCases(Number(values.cases));
const rows = [15_000, 1_000_000].flatMap((classes) => [1, 3, 10].map((count) => measure(classes, count)));
if (values.json) {
  const machine = { processor: cpus()[0].model, cores: availableParallelism(), node: process.version, load };
  console.log(
    JSON.stringify(
      { machine, subsetSize, greatestDeviation, greatestExcess, descentSeconds, newton, rows },
      null,
      2,
    ),
  );
} else {
  console.log(
    'classes    specialists  fuse us  steps  copy us   descent to 1e-3                             descent to 1e-6 nats',
  );
  for (const row of rows) {
    const descents = row.descents.map(({ seconds, steps, reached }) => {
      const ratio = Math.round((seconds * 1e6) / row.fuseUs).toLocaleString('en');
      return `  ${reached ? '' : 'over '}${ratio} times (${seconds.toFixed(2)} s, ${steps} steps)`.padEnd(44);
    });
    console.log(
      row.classes.toLocaleString('en').padEnd(12) +
        String(row.specialists).padEnd(10) +
        row.fuseUs.toFixed(1).padStart(8) +
        String(row.newtonSteps).padStart(7) +
        row.copyUs.toFixed(1).padStart(9) +
        descents.join(''),
    );
  }
  console.log(
    `\n${newton.cases} random cases of ten specialists: at most ${newton.mostSteps} Newton steps, ` +
      `fixed point within ${newton.greatestResidual.toExponential(1)}`,
  );
}

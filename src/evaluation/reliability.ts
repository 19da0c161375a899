import { smallestProbability } from '../ensemble/calibration/calibration-example.js';
import { underLabelNoise } from '../ensemble/label-noise.js';
import { calibrationErrorOf } from '../math/calibration-error.js';

/** Predictions of about the same confidence, the probability of the most probable class. */
export interface ReliabilityBin {
  readonly examples: number;
  /** Mean over them. */
  readonly confidence: number;
  /** Share of them that are correct. */
  readonly accuracy: number;
}

/** How often one predictor is right, by how confident it is. */
export interface ReliabilityCurve {
  /** Expected calibration error, from 0 to 1. */
  readonly calibrationError: number;
  /** Those that hold an example, by rising confidence. */
  readonly bins: readonly ReliabilityBin[];
}

/** As the predictor is, and under a temperature and a share of label noise that were fitted to other examples. */
export interface Reliability {
  readonly examples: number;
  readonly asIs: ReliabilityCurve;
  /** Each half of the examples under what fits the other half best. */
  readonly fitted: ReliabilityCurve;
  /** Mean of `fitted`, in nats; 0 without examples. */
  readonly fittedNegativeLogLikelihood: number;
  /** The temperature, and the share of labels that may be any class, that fit all examples best. */
  readonly temperature: number;
  readonly labelNoise: number;
}

const binCount = 15; // as for the expected calibration error
const unit = 8; // the exponents 1/T that are tried are the multiples of an eighth
const [least, most] = [2, 16]; // of them: temperatures from 4 down to a half; sums of powers start from the second
const exponents = Array.from({ length: most - least + 1 }, (_, index) => least + index);
const noises = [0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4];
const candidates = exponents.flatMap((exponent, index) =>
  noises.map((labelNoise) => ({ exponent, index, labelNoise })),
);

/**
 * Accumulates the reliability of one predictor, as it is and at a fitted temperature, under a fitted share of label noise.
 *
 *     p_T(c) = (1 - e) p(c)^(1/T) / sum over classes d of p(d)^(1/T) + e / C
 *
 * A predictor that is only too sure of itself looks as bad as one that is wrong about what it confuses; one temperature
 * tells the two apart (Guo, Pleiss, Sun and Weinberger 2017), and some wrong labels do not move it where they may be any
 * class. Of 15 temperatures, by steps of an eighth of 1/T, and 9 shares those of the lowest negative log-likelihood are
 * taken, on the half of the examples that they are not used on. `add` takes the label and the distribution, (classes).
 *
 * Cost: a pass over the classes; three square roots and 15 products for each of at most a few thousand bins; two powers for
 * each pair of a temperature and a share.
 */
export function createReliability() {
  const halves = [0, 1].map(() => candidates.map(createBins));
  const sums = new Float64Array(exponents.length);
  const sumPowers = createPowerSums();
  let examples = 0;
  return {
    add(label: number, probabilities: Float32Array): void {
      const first = sumPowers(probabilities, sums);
      const half = halves[examples++ % 2];
      const [logOfLabel, logOfFirst] = [label, first].map((c) =>
        Math.log(Math.max(probabilities[c], Number.MIN_VALUE)),
      );
      for (const [at, { exponent, index, labelNoise }] of candidates.entries()) {
        const withNoise = underLabelNoise(labelNoise, probabilities.length);
        const p = (log: number) => withNoise(Math.exp((exponent / unit) * log) / sums[index]);
        const loss = -Math.log(Math.max(p(logOfLabel), smallestProbability));
        half[at].add(p(logOfFirst), first === label, loss);
      }
    },
    result(): Reliability {
      const best = (among: readonly (readonly Bins[])[]) => {
        const losses = candidates.map((_, at) => among.reduce((sum, half) => sum + half[at].loss, 0));
        return losses.indexOf(Math.min(...losses));
      };
      const [even, odd] = halves;
      const plain = candidates.findIndex(({ exponent, labelNoise }) => exponent === unit && labelNoise === 0);
      const fitted = [even[best([odd])], odd[best([even])]];
      const { exponent, labelNoise } = candidates[best(halves)];
      return {
        examples,
        asIs: curveOf([even[plain], odd[plain]]),
        fitted: curveOf(fitted),
        fittedNegativeLogLikelihood: (fitted[0].loss + fitted[1].loss) / Math.max(1, examples),
        temperature: unit / exponent,
        labelNoise,
      };
    },
  };
}

const [significantBits, fractionBits] = [6, 23]; // of a single-precision number: those that tell bins apart, and all
const dropped = fractionBits - significantBits;
const binOfOne = floatBits(1) >>> dropped;

/** The bits of a number in single precision. */
function floatBits(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0];
}

/**
 * Makes the function that sums p^(k / 8) over the classes, for each exponent k, and returns the most probable class.
 *
 * Of tens of thousands of classes most are about as improbable as thousands of others: classes whose probabilities agree
 * in their first 7 binary digits are counted together, at their mean. That changes a sum by less than a part in 10,000.
 */
function createPowerSums() {
  const counts = new Uint32Array(binOfOne + 1);
  const masses = new Float64Array(binOfOne + 1);
  return (probabilities: Float32Array, sums: Float64Array): number => {
    const bits = new Uint32Array(probabilities.buffer, probabilities.byteOffset, probabilities.length);
    let first = 0;
    let lowest = binOfOne;
    for (let c = 0; c < bits.length; c++) {
      const bin = bits[c] >>> dropped;
      if (probabilities[c] > probabilities[first]) first = c;
      counts[bin]++;
      masses[bin] += probabilities[c];
      if (bin < lowest) lowest = bin;
    }
    sums.fill(0);
    for (let bin = lowest; bin <= binOfOne; bin++) {
      const count = counts[bin];
      if (count === 0) continue;
      const root = Math.sqrt(Math.sqrt(Math.sqrt(masses[bin] / count)));
      let power = count * root;
      for (let index = 0; index < sums.length; index++) {
        power *= root;
        sums[index] += power;
      }
      counts[bin] = 0;
      masses[bin] = 0;
    }
    return first;
  };
}

type Bins = ReturnType<typeof createBins>;

function createBins() {
  const bins = Array.from({ length: binCount }, () => ({ examples: 0, confidence: 0, correct: 0 }));
  return {
    bins,
    /** Sum over the examples, in nats. */
    loss: 0,
    add(confidence: number, isCorrect: boolean, loss: number): void {
      const bin = bins[Math.min(binCount - 1, Math.floor(confidence * binCount))];
      bin.examples++;
      bin.confidence += confidence;
      bin.correct += Number(isCorrect);
      this.loss += loss;
    },
  };
}

function curveOf(parts: readonly Bins[]): ReliabilityCurve {
  const sums = Array.from({ length: binCount }, (_, index) => {
    const total = { examples: 0, confidence: 0, correct: 0 };
    for (const { bins } of parts) {
      total.examples += bins[index].examples;
      total.confidence += bins[index].confidence;
      total.correct += bins[index].correct;
    }
    return total;
  });
  return {
    calibrationError: calibrationErrorOf(sums),
    bins: sums
      .filter(({ examples }) => examples > 0)
      .map(({ examples, confidence, correct }) => ({
        examples,
        confidence: confidence / examples,
        accuracy: correct / examples,
      })),
  };
}

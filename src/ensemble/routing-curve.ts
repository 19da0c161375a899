import type { Tensor4D } from '../compute/operations.js';
import type { Network } from '../models/network.js';
import { forwardFlops } from '../models/network-definition.js';
import { createCalibratedFuser, type FusionSettings } from './calibration/calibrated-fusion.js';
import { consult } from './consult.js';
import { activeSpecialists, type RoutingRule } from './routing.js';
import { firstTrainedPart, type Specialist } from './specialist/specialist.js';
import { indexMembership } from './subsets/membership.js';

/** What an ensemble does under one rule of routing. */
export interface RoutingPoint {
  readonly rule: 'top' | 'mass';
  /** n, or the least mass. */
  readonly value: number;
  /** Specialists asked, mean over the images. */
  readonly active: number;
  /** Multiplications and additions for an image: the generalist's, and what the specialists did not share. */
  readonly flopsPerImage: number;
  readonly top1: number;
}

/** The rules that are tried; n = 1 is the paper's. */
const routingRules: readonly RoutingRule[] = [
  ...[1, 2, 3, 5].map((top) => ({ top })),
  ...[0.5, 0.3, 0.2, 0.1, 0.05].map((mass) => ({ mass })),
];

/**
 * Accuracy against cost: the same ensemble under several rules of routing.
 *
 * Each image is given once to the generalist and once to every specialist that any of the rules calls; the rules
 * differ in whose answers are fused.
 *
 * @param batches images (batch, height, width, channels) in [0, 1] with labels; disposed of here
 * @param settings the calibrated fusion, fitted under one of the rules
 * @returns a point a rule, in the order of `rules`
 */
export async function measureRouting(
  generalist: Network,
  specialists: readonly Specialist[],
  settings: FusionSettings,
  batches: AsyncIterable<{ readonly images: Tensor4D; readonly labels: Int32Array }>,
  rules: readonly RoutingRule[] = routingRules,
): Promise<readonly RoutingPoint[]> {
  const classCount = generalist.definition.outputs;
  const membership = indexMembership(
    specialists.map(({ config }) => config),
    classCount,
  );
  const subsets = specialists.map(({ config }) => Int32Array.from(config.classes));
  const costs = specialists.map(({ config, network }) =>
    forwardFlops(network.definition, { from: firstTrainedPart[config.retrain] }),
  );
  const fuse = createCalibratedFuser(settings, classCount);
  const isKept = (position: number) => settings.specialists[position].kept;
  const sums = rules.map(() => ({ active: 0, flops: 0, correct: 0 }));
  let examples = 0;
  for await (const { images, labels } of batches) {
    const called: (readonly (readonly number[])[])[] = []; // of an image: by rule, positions
    const consultations = await consult(
      generalist,
      specialists,
      images,
      ({ probabilities }, image) => {
        called[image] = rules.map((rule) =>
          activeSpecialists(probabilities, membership, rule).filter(isKept),
        );
        return [...new Set(called[image].flat())];
      },
      { temperature: settings.generalistTemperature },
    );
    images.dispose();
    for (const [
      image,
      {
        generalist: { softened },
        specialists: answers,
      },
    ] of consultations.entries()) {
      rules.forEach((_, rule) => {
        const active = called[image][rule];
        const speaking = answers
          .filter(({ specialist }) => active.includes(specialist))
          .map(({ specialist, logits: answer }) => ({
            id: specialists[specialist].config.id,
            classes: subsets[specialist],
            logits: answer,
          }));
        sums[rule].active += active.length;
        sums[rule].flops += active.reduce((sum, position) => sum + costs[position], 0);
        sums[rule].correct += Number(indexOfLargest(fuse(softened, speaking)) === labels[image]);
      });
      examples++;
    }
  }
  const ofGeneralist = forwardFlops(generalist.definition);
  return rules.map(({ top = 1, mass }, rule) => ({
    rule: typeof mass === 'number' ? 'mass' : 'top',
    value: typeof mass === 'number' ? mass : top,
    active: sums[rule].active / examples,
    flopsPerImage: ofGeneralist + sums[rule].flops / examples,
    top1: sums[rule].correct / examples,
  }));
}

function indexOfLargest(values: Float64Array): number {
  let largest = 0;
  for (let index = 1; index < values.length; index++) if (values[index] > values[largest]) largest = index;
  return largest;
}

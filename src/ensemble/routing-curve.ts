import type { Pause } from '../core/pause.js';
import { firstClass } from '../math/rank.js';
import type { LabelledBatch } from '../models/accuracy.js';
import type { Network } from '../models/network.js';
import { forwardFlops } from '../models/network-definition.js';
import { createFusion, type FusionSettings } from './inference.js';
import { createQuery } from './query.js';
import { createRouter, mostActive, mostProbable, type RoutingRule } from './routing.js';
import { firstTrainedPart } from './specialist/specialist.js';
import type { SpecialistNetworks } from './specialist/specialist-networks.js';
import { indexMembership } from './subsets/membership.js';

/** What an ensemble does under one rule of routing. */
export interface RoutingPoint {
  readonly rule: 'top' | 'mass';
  /** n, or the least mass. */
  readonly value: number;
  /** Specialists queried, mean over the images. */
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
 * The generalist predicts once for each image, and so does every specialist that any of the rules calls; the rules
 * differ in whose predictions are fused.
 *
 * @param batches of labelled images
 * @param settings the calibrated fusion, fitted under one of the rules
 * @param options.pause called for each image
 * @returns a point a rule, in the order of `rules`
 */
export async function measureRouting(
  generalist: Network,
  specialists: SpecialistNetworks,
  settings: FusionSettings,
  batches: AsyncIterable<LabelledBatch>,
  { rules = routingRules, pause }: { readonly rules?: readonly RoutingRule[]; readonly pause?: Pause } = {},
): Promise<readonly RoutingPoint[]> {
  const classCount = generalist.definition.outputs;
  const configs = specialists.members.map(({ config }) => config);
  const kept = configs.map((config, m) => (settings.specialists[m].kept ? config : { classes: [] }));
  const membership = indexMembership(kept, classCount);
  const routers = rules.map((rule) => createRouter(membership, { most: mostActive, ...rule }));
  const longest = Math.max(1, ...rules.map(({ top = 1 }) => top));
  const costs = specialists.members.map(({ config }) =>
    forwardFlops(config.network, { from: firstTrainedPart[config.retrain] }),
  );
  const fusion = createFusion(generalist.operations, configs, settings, classCount);
  const { generalistTemperature: temperature } = settings;
  const query = createQuery(generalist, specialists, {
    temperature,
    needsPlain: true,
    usesDustbin: fusion.usesDustbin,
  });
  const sums = rules.map(() => ({ active: 0, flops: 0, correct: 0 }));
  const q = new Float32Array(classCount);
  let examples = 0;
  for await (const batch of batches) {
    const active: (readonly (readonly number[])[])[] = []; // of an image: by rule, positions
    const queried = await query(batch, ({ plain, first }, image) => {
      const order = mostProbable(plain, longest);
      active[image] = routers.map((router) => router.route(plain, first, order));
      return [...new Set(active[image].flat())];
    });
    try {
      for (let image = 0; image < batch.count; image++) {
        const turn = pause?.();
        if (turn) await turn;
        const firsts = new Map<string, number>(); // most rules name the same specialists
        for (const [rule, positions] of active[image].entries()) {
          const named = positions.join();
          let first = firsts.get(named);
          if (first === undefined) {
            q.set(queried.softened(image));
            fusion.fuse(q, queried.ofImage(image, positions));
            first = firstClass(q);
            firsts.set(named, first);
          }
          sums[rule].active += positions.length;
          sums[rule].flops += positions.reduce((sum, position) => sum + costs[position], 0);
          sums[rule].correct += Number(first === batch.labels[image]);
        }
        examples++;
      }
    } finally {
      queried.dispose();
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

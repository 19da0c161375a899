import { softmax } from '../../math/softmax.js';
import { topK } from '../../math/top-k.js';
import type { LabelledBatch } from '../../models/accuracy.js';
import type { Network } from '../../models/network.js';
import { createQuery } from '../query.js';
import { createRouter, type RoutingRule } from '../routing.js';
import type { SpecialistNetworks } from '../specialist/specialist-networks.js';
import { indexMembership } from '../subsets/membership.js';
import type { CalibrationExample } from './calibration-example.js';

const storedTop = 50; // of the generalist's classes that are kept for an example, beside the active subsets

/**
 * Predicts for validation images what calibration fits to: the generalist and the active specialists, at temperature 1.
 *
 * @param batches of labelled images
 * @param rule of routing
 * @returns one example an image. Of the generalist's classes the first are kept and those of the active subsets;
 *   calibration spreads the rest evenly.
 */
export async function* calibrationExamples(
  generalist: Network,
  specialists: SpecialistNetworks,
  batches: AsyncIterable<LabelledBatch>,
  rule: RoutingRule,
): AsyncGenerator<CalibrationExample> {
  const configs = specialists.members.map(({ config }) => config);
  const router = createRouter(indexMembership(configs, generalist.definition.outputs), rule);
  const query = createQuery(generalist, specialists, {
    temperature: 1,
    needsPlain: true,
    usesDustbin: true,
  });
  for await (const batch of batches) {
    const queried = await query(batch, ({ plain, first }) => router.route(plain, first));
    try {
      for (let image = 0; image < batch.count; image++) {
        const probabilities = queried.softened(image);
        const predictions = queried.ofImage(image);
        const stored = new Set(topK(probabilities, storedTop).indices);
        for (const { position } of predictions) for (const c of configs[position].classes) stored.add(c);
        const classes = Int32Array.from(stored);
        yield {
          label: batch.labels[image],
          generalist: { classes, probabilities: Float32Array.from(classes, (c) => probabilities[c]) },
          specialists: predictions.map(({ position, logits }) => ({
            specialist: position,
            probabilities: softmax(logits),
          })),
        };
      }
    } finally {
      queried.dispose();
    }
  }
}

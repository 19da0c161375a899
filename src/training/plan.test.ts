import { expect, test } from 'vitest';
import { planTraining, type TrainingOptions } from './plan.js';

const options: TrainingOptions = {
  epochs: 10,
  batchSize: 32,
  optimizer: 'adamw',
  learningRate: 0.01,
  schedule: 'cosine',
  warmup: 0.25,
  weightDecay: 0.1,
  labelSmoothing: 0.05,
  seed: 3,
};
const of = { stepsPerEpoch: 8, from: 'dense', batches: async function* () {} } as const;

test('the warm-up is a share of all steps', () => {
  expect(planTraining(options, of)).toMatchObject({
    ...{ seed: 3, epochs: 10, stepsPerEpoch: 8, from: 'dense', weightDecay: 0.1, labelSmoothing: 0.05 },
    schedule: { kind: 'cosine', learningRate: 0.01, warmupSteps: 20, totalSteps: 80 },
    maxNorm: null,
  });
});

test('a training that ends by validation warms up for one epoch at most', () => {
  const warmupSteps = (warmup: number) =>
    planTraining({ ...options, warmup, schedule: 'plateau' }, of).schedule.warmupSteps;
  expect([warmupSteps(0.05), warmupSteps(0.25)]).toEqual([4, 8]);
});

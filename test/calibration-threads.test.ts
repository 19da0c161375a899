import { expect, test, vi } from 'vitest';
import { createRandom } from '../src/core/random.js';
import { type CalibrationExample, calibrate } from '../src/ensemble/calibration/calibration.js';
import { softmax } from '../src/math/softmax.js';

// Threads run what is built: a worker cannot load TypeScript on every Node that kd-spec runs on.
const calibration = new URL('../dist/ensemble/calibration/calibration.js', import.meta.url).href;
const built = (await import(calibration)) as typeof import('../src/ensemble/calibration/calibration.js');

const classes = 60;
const subsets = [0, 1].map((id) => ({ id, classes: Array.from({ length: 30 }, (_, c) => 30 * id + c) }));

/** Examples of two specialists that know more than the generalist, both active. */
function examplesOf(name: string, count: number): CalibrationExample[] {
  const random = createRandom('threads', name);
  return Array.from({ length: count }, () => {
    const label = random.below(classes);
    const logits = (outcomes: number, right: number, height: number) =>
      Float64Array.from({ length: outcomes }, (_, c) => random.normal() + (c === right ? height : 0));
    const probabilities = softmax(logits(classes, label, 2));
    const specialists = subsets.map(({ id }) => ({
      specialist: id,
      probabilities: softmax(logits(31, Math.floor(label / 30) === id ? label % 30 : 30, 3)),
    }));
    return { label, generalist: { classes: [...probabilities.keys()], probabilities }, specialists };
  });
}

test('rules that are fitted in threads come out as one after the other', async () => {
  const examples = examplesOf('validation', 280);
  const options = { bystanders: examplesOf('bystanders', 90), harm: 0.02 };
  let seconds = 0;
  const onPlan = vi.fn(({ estimatedSeconds }: { readonly estimatedSeconds: number }) => {
    seconds = estimatedSeconds;
  });
  const inThreads = await built.calibrate(examples, subsets, classes, { ...options, onPlan });
  expect(seconds).toBeGreaterThan(2); // else no thread is worth it
  expect(inThreads).toEqual(await calibrate(examples, subsets, classes, options));
  const stop = AbortSignal.timeout(300);
  const stopped = built.calibrate(examples, subsets, classes, { ...options, signal: stop });
  await expect(stopped).rejects.toMatchObject({ code: 'interrupted' });
});

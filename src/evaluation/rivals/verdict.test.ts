import { expect, test } from 'vitest';
import { pairedDifference } from './rival.js';
import { type Outcome, verdictOf } from './verdict.js';

const images = 1000;

/** An outcome that is right on the first of the images, and what it does to bystanders. */
function outcome(right: number, harm?: number): Outcome {
  const outcomes = Uint8Array.from({ length: images }, (_, image) => Number(image < right));
  const before = Uint8Array.from({ length: images }, (_, image) => Number(image < 600));
  const { mean: gain, standardError } = pairedDifference(outcomes, before);
  return {
    right: outcomes,
    figures: {
      settings: {},
      top1: right / images,
      gain,
      standardError,
      ...(harm !== undefined && { harm: { harm, standardError: 0.002 } }),
    },
  };
}

const verdict = (
  rivals: Readonly<Record<string, Outcome | undefined>>,
  specialists: Outcome,
  bound: number | undefined = 0.005,
) =>
  verdictOf(
    Object.entries(rivals).map(([name, one]) => ({ name, outcome: one })),
    specialists,
    { bound, others: 50 },
  );

test('a rival that gains more within the bound is better, and the sentence says what both cost', () => {
  const { better, difference, text } = verdict(
    { bias: outcome(640, 0.001), adapter: outcome(720, 0.004) },
    outcome(680, 0.002),
  );
  expect(better).toBe('adapter');
  expect(difference).toBeCloseTo(0.04, 10);
  expect(text).toBe(
    'A rival is better than the specialists for these images: adapter, by +4.0% ± 0.6 in top-1 (72.0% against 68.0%). It ' +
      'costs bystanders 0.4% ± 0.2, the specialists 0.2% ± 0.2, where at most 0.5% is allowed. kd-spec export --refit adapter --out FILE writes that model.',
  );
});

test('where a last layer can be refitted, a better rival is a reason to let specialists stand on one', () => {
  const better = [{ name: 'hidden', outcome: outcome(720) }];
  const textOf = (specialists: Outcome, canRefit: boolean) =>
    verdictOf(better, specialists, { bound: undefined, others: 0, canRefit }).text;
  expect(textOf(outcome(680), true)).toMatch(
    /With --refit-share 0\.5 specialists stand on a refitted last layer/,
  );
  expect(textOf(outcome(680), false)).not.toMatch(/refit-share/);
  expect(textOf(outcome(720), true)).not.toMatch(/refit-share/);
});

test('one that gains more and breaks the bound on bystanders for the test is not better, and is named with its harm', () => {
  const { better, text } = verdict(
    { bias: outcome(640, 0.001), hidden: outcome(720, 0.015) },
    outcome(680, 0.002),
  );
  expect(better).toBeNull();
  expect(text).toMatch(
    /^No rival is better than the specialists by .* within the allowed harm; the best of them, bias, differs by −4.0%/,
  );
  expect(text).toMatch(
    /Hidden gains \+4.0% ± 0.6 more than the specialists, but costs bystanders 1.5% ± 0.2, the specialists 0.2% ± 0.2, where at most 0.5% is allowed/,
  );
});

test('who does no more harm than the specialists is within what is allowed', () => {
  expect(verdict({ adapter: outcome(720, 0.008) }, outcome(680, 0.008)).better).toBe('adapter');
  expect(verdict({ adapter: outcome(720, 0.009) }, outcome(680, 0.008)).better).toBeNull();
});

test('a gain within two standard errors decides nothing', () => {
  expect(verdict({ bias: outcome(683, 0) }, outcome(680, 0)).better).toBeNull();
});

test('without bystanders gains alone are compared, and it says what nothing measured', () => {
  const { better, text } = verdictOf([{ name: 'neighbours', outcome: outcome(720) }], outcome(680), {
    bound: undefined,
    others: 18_509,
  });
  expect(better).toBe('neighbours');
  expect(text).toContain('kd-spec does not write that model: keep the training features in an index');
  expect(text).toContain('Nothing measures what happens to the 18,509 classes without images');
  expect(text).not.toContain('allowed');
});

test('neighbours are written into an imported model, unless their features are too large', () => {
  const textOf = (stored: number) =>
    verdictOf([{ name: 'neighbours', outcome: outcome(720) }], outcome(680), {
      bound: undefined,
      others: 0,
      isImported: true,
      stored,
    }).text;
  expect(textOf(256e6)).toContain('kd-spec export --refit neighbours --out FILE writes that model');
  expect(textOf(1.2e9)).toContain(
    'does not write that model, whose training features of 1.2 GB are over the 256 MB that it stores: keep the training',
  );
});

test('where nothing keeps the bound, nothing is better', () => {
  const { better, text } = verdict({ refitted: undefined, generalist: outcome(600, 0) }, outcome(680, 0.002));
  expect(better).toBeNull();
  expect(text).toMatch(/^No rival keeps the bound on harm; the specialists gain \+8.0%/);
});

import { expect, test } from 'vitest';
import { stageSummary, studentVerdict } from './stage-summary.js';

test('subsets are shown with their most typical classes by name', () => {
  const metrics = {
    subsets: '/w/subsets/subsets.json',
    classes: 500,
    count: 2,
    sizes: { least: 57, median: 70, most: 83 },
    coverage: 0.28,
    confusionInside: 0.5631,
    masses: { least: 0.11, median: 0.25, most: 0.391 },
    inertia: 138.7,
    entries: 95_959,
    seconds: { affinity: 1.55, clustering: 2.56 },
    classesBySubset: [
      { id: 0, size: 57, confusionInside: 0.5012, mostTypical: ['兀 U+5140', '乃 U+4E43'] },
      { id: 10, size: 83, confusionInside: 1, mostTypical: ['a long name of a class', 'x'.repeat(60)] },
    ],
  };
  expect(stageSummary('subsets', metrics)).toBe(`\
subsets                2, of 57 to 83 classes, median 70
coverage               28.0% of 500 classes are in a subset
confusion inside       56.3% is between classes of one subset
confusion of a subset  11.0% to 39.1% of all, median 25.0%
time                   affinity 1.6 s, clustering 2.6 s

subset  classes  confusion inside  most typical
     0       57             50.1%  兀 U+5140, 乃 U+4E43
    10       83            100.0%  a long name of a class`);
});

test('specialists are a table', () => {
  const metrics = {
    specialists: 2,
    doneBefore: 1,
    workers: 2,
    engine: 'local',
    trainingSeconds: 145.66,
    trainingFlops: 3e9,
    sharedSeconds: 2,
    bySpecialist: [
      { id: 0, classes: 57, loss: 2.0094, dustbinCorrection: 2.0345, firstDivergence: 0.002727 },
      { id: 1, classes: 83, loss: 2.55307, dustbinCorrection: -0.05, firstDivergence: 0.0005679 },
    ].map((specialist) => ({ ...specialist, trainingFlops: 1e9 })),
  };
  expect(stageSummary('specialists', metrics)).toBe(`\
2 specialists, 1 of them done before; 2 min 26 s of training in 2 processes.

specialist  classes  last loss  dustbin raised by  divergence before training
         0       57      2.009         2.034 nats                 0.0027 nats
         1       83      2.553        -0.050 nats                0.00057 nats`);
});

test('a data set is counted', () => {
  const metrics = {
    description: 'Marks',
    classes: 500,
    train: 5319,
    validation: 5168,
    test: 1769,
    shards: 3,
    bytes: 7_882_184,
  };
  expect(stageSummary('dataset', metrics)).toBe(`Marks.

            images  per class
train        5,319       10.6
validation   5,168       10.3
test         1,769        3.5

500 classes, 7.88 MB in 3 shards.`);
});

test('metrics of another shape are listed', () => {
  expect(stageSummary('predictions', { rows: 12_345 })).toBe('rows  12,345');
});

test('a student that is no better than the generalist is said to be none', () => {
  const of = (top1: number, examples = 10_000) => ({ top1, examples });
  expect(studentVerdict(of(0.5), of(0.45), of(0.55))).toBe(
    'The student gains 5.00 points ± 0.71 over the generalist, 50.0% of what its teacher gains.',
  );
  expect(studentVerdict(of(0.455), of(0.45), of(0.55))).toMatch(
    /no better than the generalist: \+0\.50 points ± 0\.70 is within chance\. Give it more units/,
  );
  expect(studentVerdict(of(0.445), of(0.45), of(0.55))).toMatch(/no better .*: -0\.50 points/);
  expect(studentVerdict(of(0.4), of(0.45), of(0.55))).toMatch(/worse than the generalist by 5\.00 points/);
  // The same difference on fewer images is chance.
  expect(studentVerdict(of(0.4, 200), of(0.45, 200))).toMatch(/no better/);
  // A teacher that gains nothing has no share to be kept.
  expect(studentVerdict(of(0.5), of(0.45), of(0.45))).toMatch(/over the generalist\.$/);
});

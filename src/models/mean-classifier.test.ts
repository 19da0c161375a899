import { expect, test } from 'vitest';
import { softmax } from '../math/softmax.js';
import { type Classifier, createClassifier } from './classifier.js';
import { type ClassifierMean, meanClassifier, meanOfLogits } from './mean-classifier.js';

const logits = [Float32Array.of(2, 0, -1), Float32Array.of(5, 6, 4.5)]; // each up to a constant of its own

function probabilities(mean: ClassifierMean): Float64Array {
  const out = new Float64Array(3);
  meanOfLogits(logits, mean, out);
  return out.map(Math.exp);
}

test('the arithmetic mean is that of the probabilities', () => {
  const [a, b] = logits.map((row) => softmax(row));
  probabilities('arithmetic').forEach((value, index) => {
    expect(value).toBeCloseTo((a[index] + b[index]) / 2, 6);
  });
});

test('the geometric mean is the softmax of the mean logits', () => {
  const expected = softmax(logits[0].map((value, index) => (value + logits[1][index]) / 2));
  probabilities('geometric').forEach((value, index) => {
    expect(value).toBeCloseTo(expected[index], 6);
  });
});

function classifier(name: string, logits: Float32Array, classes?: readonly string[]): Classifier {
  return createClassifier({
    name,
    classes: classes ?? Array.from(logits, (_, index) => `class ${index}`),
    input: { kind: 'rows', rows: 1 },
    logits: async (_batch, out) => out.set(logits),
    dispose() {},
  });
}

const batch = { images: new Float32Array(), count: 1, rows: Int32Array.of(0) };

test('one classifier alone is itself, whichever mean', async () => {
  for (const mean of ['arithmetic', 'geometric'] as const) {
    const found = await meanClassifier([classifier('a', logits[0])], mean).probabilities(batch);
    const expected = softmax(logits[0]);
    found.forEach((value, index) => {
      expect(value).toBeCloseTo(expected[index], 6);
    });
  }
});

test('the mean of two is the mean of their distributions, and disposes of both', async () => {
  const members = logits.map((row, index) => classifier(`${index}`, row));
  const mean = meanClassifier(members, 'arithmetic');
  const found = await mean.probabilities(batch);
  const [a, b] = logits.map((row) => softmax(row));
  found.forEach((value, index) => {
    expect(value).toBeCloseTo((a[index] + b[index]) / 2, 6);
  });
  mean.dispose();
  await expect(members[1].logits(batch)).rejects.toMatchObject({ code: 'disposed' });
});

test('classifiers of other classes, or of the same in another order, are refused by name', () => {
  const small = classifier('small', logits[0]);
  expect(() => meanClassifier([small, classifier('large', new Float32Array(5))], 'arithmetic')).toThrow(
    /small has 3, large has 5/,
  );
  const turned = classifier('turned', logits[1], ['class 1', 'class 0', 'class 2']);
  expect(() => meanClassifier([small, turned], 'arithmetic')).toThrow(
    /class 0 is "class 0" in small and "class 1" in turned/,
  );
});

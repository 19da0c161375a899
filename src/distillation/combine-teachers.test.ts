import { expect, test } from 'vitest';
import { softmax } from '../math/softmax.js';
import { combineTeachers, meanOfTeachers, type TeacherMean } from './combine-teachers.js';
import type { Teacher } from './teacher.js';

const logits = [Float32Array.of(2, 0, -1), Float32Array.of(5, 6, 4.5)]; // each up to a constant of its own

function probabilities(mean: TeacherMean): Float64Array {
  const out = new Float64Array(3);
  meanOfTeachers(logits, mean, out);
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

function teacher(name: string, answer: Float32Array): Teacher {
  return { name, classes: answer.length, answersAnyImage: true, answer: async () => answer, dispose() {} };
}

test('one teacher alone is itself, whichever mean', async () => {
  const question = { images: new Float32Array(1), shape: [1, 1, 1, 1] as const, rows: Int32Array.of(0) };
  for (const mean of ['arithmetic', 'geometric'] as const) {
    const answer = await combineTeachers([teacher('a', logits[0])], mean).answer(question);
    const expected = softmax(logits[0]);
    answer.forEach((value, index) => {
      expect(Math.exp(value)).toBeCloseTo(expected[index], 6);
    });
  }
});

test('teachers of different classes are refused by name', () => {
  const others = [teacher('small', logits[0]), teacher('large', new Float32Array(5))];
  expect(() => combineTeachers(others, 'arithmetic')).toThrow(/small has 3, large has 5/);
});

import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createRandom } from '../src/core/random.js';
import { onnxTeacher } from '../src/distillation/onnx-teacher.js';
import { softmax } from '../src/math/softmax.js';
import { linearOnnxModel } from './fixtures/onnx-model.js';

// An optional peer of 288 MB: scripts/onnx-runtime.sh installs it and runs these tests.
const isInstalled = existsSync('node_modules/onnxruntime-node');

const image = { height: 4, width: 5, channels: 3 } as const;
const size = 4 * 5 * 3;
const classes = 6;
const random = createRandom('onnx');
const weights = Float32Array.from({ length: size * classes }, () => random.normal());
const images = Float32Array.from({ length: 2 * size }, () => random.uniform());
const question = { images, shape: [2, 4, 5, 3] as const, rows: Int32Array.of(0, 1) };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-onnx-'));
});
afterEach(async () => rm(folder, { recursive: true, force: true }));

async function teacherOf(model: Uint8Array) {
  const path = join(folder, 'teacher.onnx');
  await writeFile(path, model);
  return onnxTeacher('teacher', path, image);
}

/** What the model is to say about an image, which it sees in the given order of values. */
function expected(order: (position: number) => number): Float64Array[] {
  return [0, 1].map((row) => {
    const logits = new Float64Array(classes);
    for (let position = 0; position < size; position++)
      for (let label = 0; label < classes; label++)
        logits[label] += images[row * size + order(position)] * weights[position * classes + label];
    return softmax(logits);
  });
}

async function expectAnswers(model: Uint8Array, order: (position: number) => number): Promise<void> {
  const teacher = await teacherOf(model);
  expect(teacher.classes).toBe(classes);
  const said = await teacher.answer(question);
  teacher.dispose();
  for (const [row, probabilities] of expected(order).entries()) {
    const found = softmax(said.subarray(row * classes, (row + 1) * classes));
    probabilities.forEach((value, label) => {
      expect(found[label]).toBeCloseTo(value, 4);
    });
  }
}

const asTheyAre = (position: number) => position;
/** Where the value of (channel, pixel) stands among (pixel, channel). */
const channelsFirst = (position: number) => (position % 20) * 3 + Math.floor(position / 20);

describe.skipIf(!isInstalled)('an ONNX teacher', () => {
  test('a model of logits, channels last', () =>
    expectAnswers(linearOnnxModel([4, 5, 3], classes, weights), asTheyAre));

  test('a model of probabilities, channels first', () =>
    expectAnswers(linearOnnxModel([3, 4, 5], classes, weights, { softmax: true }), channelsFirst));

  test('a model of flat images', () => expectAnswers(linearOnnxModel([size], classes, weights), asTheyAre));

  test('a model that takes one image at a time', () =>
    expectAnswers(linearOnnxModel([3, 4, 5], classes, weights, { softmax: true, batch: 1 }), channelsFirst));

  test('models of other images, and files that are none, are refused', async () => {
    const other = linearOnnxModel([7, 5, 3], classes, new Float32Array(105 * classes));
    await expect(teacherOf(other)).rejects.toMatchObject({
      code: 'checkpoint-invalid',
      message: expect.stringMatching(/expected a model of images of 4 x 5 x 3/),
    });
    await expect(teacherOf(Uint8Array.of(1, 2, 3))).rejects.toMatchObject({ code: 'checkpoint-invalid' });
  });
});

test.skipIf(isInstalled)('without onnxruntime-node the error says what to type', async () => {
  await expect(teacherOf(linearOnnxModel([size], classes, weights))).rejects.toMatchObject({
    code: 'backend-unavailable',
    message: expect.stringContaining('npm install onnxruntime-node'),
  });
});

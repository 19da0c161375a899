import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Classifier, type ImageBatch, rowOf } from '../../src/models/classifier.js';

/** A classifier under test, with images that it takes. */
export interface ClassifierUnderTest {
  readonly classifier: Classifier;
  /** Of three images or more. */
  readonly batch: ImageBatch;
}

/**
 * What every implementation of {@link Classifier} keeps to.
 *
 * @param make called once; the tests share what it makes, and the last disposes of it
 */
export function classifierContract(
  kind: string,
  make: () => ClassifierUnderTest | Promise<ClassifierUnderTest>,
): void {
  describe(kind, () => {
    let made: ClassifierUnderTest;
    beforeAll(async () => {
      made = await make();
    });
    afterAll(() => made.classifier.dispose());

    test(`rows of probabilities sum to 1, and are the softmax of finite logits`, async () => {
      const { classifier, batch } = made;
      const classes = classifier.classes.length;
      const probabilities = (await classifier.probabilities(batch)).slice();
      const logits = await classifier.logits(batch);
      expect(probabilities.length).toBe(batch.count * classes);
      expect(logits.length).toBe(batch.count * classes);
      expect(logits.every(Number.isFinite)).toBe(true);
      for (let row = 0; row < batch.count; row++) {
        const p = rowOf(probabilities, row, classes);
        const exponentials = Float64Array.from(rowOf(logits, row, classes), Math.exp);
        const sum = exponentials.reduce((total, value) => total + value, 0);
        expect(Math.abs(p.reduce((total, value) => total + value, 0) - 1)).toBeLessThan(1e-4);
        p.forEach((value, c) => {
          expect(Math.abs(value - exponentials[c] / sum)).toBeLessThan(1e-5);
        });
      }
    });

    test(`names each class once`, async () => {
      const { classifier } = made;
      expect(classifier.name).not.toBe('');
      expect(classifier.classes.length).toBeGreaterThan(1);
      expect(new Set(classifier.classes).size).toBe(classifier.classes.length);
    });

    test(`an image has the same logits again, alone, and at another place of a batch`, async () => {
      const { classifier, batch } = made;
      const classes = classifier.classes.length;
      const logits = await classifier.logits(batch);
      expect(await classifier.logits(batch)).toEqual(logits);
      const backwards = Array.from({ length: batch.count }, (_, place) => batch.count - 1 - place);
      expectRows(await classifier.logits(imagesAt(batch, backwards)), backwards);
      for (const place of [0, batch.count - 1]) {
        expectRows(await classifier.logits(imagesAt(batch, [place])), [place]);
      }

      /** Not to the last bit: how sums are split may follow the size of the batch. */
      function expectRows(actual: Float32Array, places: readonly number[]): void {
        expect(actual.length).toBe(places.length * classes);
        for (const [row, place] of places.entries()) {
          const expected = rowOf(logits, place, classes);
          rowOf(actual, row, classes).forEach((value, c) => {
            expect(Math.abs(value - expected[c]), `class ${c} of image ${place}`).toBeLessThan(1e-4);
          });
        }
      }
    });

    test(`writes where it is told, and no further`, async () => {
      const { classifier, batch } = made;
      const size = batch.count * classifier.classes.length;
      const out = new Float32Array(size + 3).fill(-7);
      const written = await classifier.probabilities(batch, { out });
      expect(written.buffer).toBe(out.buffer);
      expect(written.length).toBe(size);
      expect(out.subarray(size)).toEqual(Float32Array.of(-7, -7, -7));
      expect(written).toEqual(await classifier.probabilities(batch));
      await expect(
        classifier.probabilities(batch, { out: new Float32Array(size - 1) }),
      ).rejects.toMatchObject({
        code: 'option-invalid',
      });
    });

    test(`no images have no rows`, async () => {
      const { classifier } = made;
      const none = { images: new Float32Array(), count: 0, rows: new Int32Array() };
      expect(await classifier.logits(none)).toEqual(new Float32Array());
    });

    test(`refuses images of another shape`, async () => {
      const { classifier, batch } = made;
      const wrong = { images: new Float32Array(batch.images.length + 1), count: batch.count };
      await expect(classifier.logits(wrong)).rejects.toMatchObject({ code: 'image-shape' });
      await expect(classifier.probabilities(wrong)).rejects.toMatchObject({ code: 'image-shape' });
    });

    test(`refuses to work after dispose, which may be called twice`, async () => {
      const { classifier, batch } = made;
      classifier.dispose();
      classifier.dispose();
      const refusal = { code: 'disposed', message: expect.stringContaining(classifier.name) };
      await expect(classifier.logits(batch)).rejects.toMatchObject(refusal);
      await expect(classifier.probabilities(batch)).rejects.toMatchObject(refusal);
    });
  });
}

/** Some images of a batch, in the order of their places. */
function imagesAt({ images, count, rows }: ImageBatch, places: readonly number[]): ImageBatch {
  const size = images.length / count;
  const chosen = new Float32Array(places.length * size);
  for (const [to, place] of places.entries()) {
    chosen.set(images.subarray(place * size, (place + 1) * size), to * size);
  }
  const batch = { images: chosen, count: places.length };
  return rows === undefined ? batch : { ...batch, rows: Int32Array.from(places, (place) => rows[place]) };
}

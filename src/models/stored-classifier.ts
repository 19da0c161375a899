import { assert, KdSpecError } from '../core/errors.js';
import { readPredictions } from '../data/predictions.js';
import { type CsrMatrix, csrRow } from '../math/csr.js';
import { type Classifier, type ClassNames, createClassifier, rowOf } from './classifier.js';

/**
 * Predictions in Arrow files as a classifier, row r of which is image r of the set they were made for.
 *
 * What a row leaves over of its mass is spread evenly on the classes that it does not list. All rows are held, sparse
 * as they are.
 *
 * @param path an Arrow file or a folder of them, as `kd-spec predict` writes them
 * @param options.rows images of the set
 * @throws KdSpecError `predictions-invalid` when there are not as many rows; what `readPredictions` throws
 */
export async function storedClassifier(
  path: string,
  { name, classes, rows }: { readonly name: string; readonly classes: ClassNames; readonly rows: number },
): Promise<Classifier> {
  const predictions = await readPredictions(path, { classes: classes.length, isOrdered: true });
  if (predictions.rowCount !== rows) {
    throw new KdSpecError(
      'predictions-invalid',
      `${path}: expected a row for each of the ${rows} images of the set, found ${predictions.rowCount}: ` +
        'predict the training part (kd-spec predict --predict-split train --max-top ...), or name another transfer set',
    );
  }
  const batches: { readonly first: number; readonly matrix: CsrMatrix }[] = [];
  let first = 0;
  for await (const { probabilities } of predictions.rows()) {
    batches.push({ first, matrix: probabilities });
    first += probabilities.rows;
  }
  return createClassifier({
    name,
    classes,
    input: { kind: 'rows', rows },
    async probabilities({ rows: wanted = new Int32Array() }, out) {
      for (const [position, row] of wanted.entries()) {
        const batch = batches.findLast((candidate) => candidate.first <= row);
        assert(batch !== undefined, `no prediction for row ${row} of ${rows}`);
        const { indices, values } = csrRow(batch.matrix, row - batch.first);
        fillRow(indices, values, rowOf(out, position, classes.length));
      }
    },
    dispose() {
      batches.length = 0;
    },
  });
}

/** Writes a sparse row as a distribution over all classes. */
function fillRow(indices: Int32Array, values: Float32Array, out: Float32Array): void {
  const left = Math.max(0, 1 - values.reduce((sum, value) => sum + value, 0));
  out.fill(left / Math.max(1, out.length - indices.length));
  for (let entry = 0; entry < indices.length; entry++) out[indices[entry]] = values[entry];
}

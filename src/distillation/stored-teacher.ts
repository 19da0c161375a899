import { assert, KdSpecError } from '../core/errors.js';
import { readPredictions } from '../data/predictions.js';
import { type CsrMatrix, csrRow } from '../math/csr.js';
import { lowestLogProbability, type Question, type Teacher } from './teacher.js';

/**
 * Predictions in Arrow files as a teacher, row r of which is image r of the transfer set.
 *
 * What a row leaves over of its mass is spread evenly on the classes that it does not list. All rows are held,
 * sparse as they are.
 *
 * @param path an Arrow file or a folder of them, as `kd-spec predict` writes them
 * @param options.rows images of the transfer set
 * @throws KdSpecError `predictions-invalid` when there are not as many rows; what `readPredictions` throws
 */
export async function storedTeacher(
  name: string,
  path: string,
  { classes, rows }: { readonly classes: number; readonly rows: number },
): Promise<Teacher> {
  const predictions = await readPredictions(path, { classes });
  if (predictions.rowCount !== rows) {
    throw new KdSpecError(
      'predictions-invalid',
      `${path}: expected a row for each of the ${rows} images of the transfer set, found ${predictions.rowCount}: ` +
        'predict the training part (kd-spec predict --predict-split train --max-top ...), or name another transfer set',
    );
  }
  const batches: { readonly first: number; readonly matrix: CsrMatrix }[] = [];
  let first = 0;
  for await (const { probabilities } of predictions.rows()) {
    batches.push({ first, matrix: probabilities });
    first += probabilities.rows;
  }
  return {
    name,
    classes,
    answersAnyImage: false,
    async answer({ rows: asked }: Question) {
      const out = new Float32Array(asked.length * classes);
      for (const [position, row] of asked.entries()) {
        const batch = batches.findLast((candidate) => candidate.first <= row);
        assert(batch !== undefined && row < rows, `no prediction for row ${row} of ${rows}`);
        const { indices, values } = csrRow(batch.matrix, row - batch.first);
        logProbabilities(indices, values, out.subarray(position * classes, (position + 1) * classes));
      }
      return out;
    },
    dispose() {},
  };
}

function logProbabilities(indices: Int32Array, values: Float32Array, out: Float32Array): void {
  const left = Math.max(0, 1 - values.reduce((sum, value) => sum + value, 0));
  const log = (value: number) => Math.max(lowestLogProbability, Math.log(value));
  out.fill(log(left / Math.max(1, out.length - indices.length)));
  for (let entry = 0; entry < indices.length; entry++) out[indices[entry]] = log(values[entry]);
}

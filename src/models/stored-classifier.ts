import { assert, KdSpecError } from '../core/errors.js';
import { readPredictions } from '../data/predictions.js';
import { type CsrMatrix, csrRow } from '../math/csr.js';
import { type Classifier, type ClassNames, createClassifier, rowOf } from './classifier.js';

const oddShare = 0.1; // of labels that differ because somebody corrected them, and not because rows are in another order

/**
 * Predictions in Arrow files as a classifier, row r of which is image r of the set they were made for.
 *
 * What a row leaves over of its mass is spread evenly on the classes that it does not list. All rows are held, sparse
 * as they are.
 *
 * @param path an Arrow file or a folder of them, as `kd-spec predict` writes them
 * @param options.classes of the set; the file's own names, where it has them, take their place
 * @param options.rows images of the set
 * @param options.rowLabels reads the labels of the set, -1 for one that is not known; labels in the file have to agree
 * @param options.warn gets a sentence where few of them do not
 * @throws KdSpecError `predictions-invalid` when there are not as many rows, or most labels are not those of the set; what
 *   `readPredictions` throws
 */
export async function storedClassifier(
  path: string,
  {
    name,
    classes: ofSet,
    rows,
    rowLabels = async () => undefined,
    warn = () => {},
  }: {
    readonly name: string;
    readonly classes: ClassNames;
    readonly rows: number;
    readonly rowLabels?: () => Promise<Int32Array | undefined>;
    readonly warn?: (text: string) => void;
  },
): Promise<Classifier> {
  const predictions = await readPredictions(path, { classes: ofSet.length, isOrdered: true });
  const classes = predictions.names ?? ofSet;
  if (predictions.rowCount !== rows) {
    throw new KdSpecError(
      'predictions-invalid',
      `${path}: expected a row for each of the ${rows} images of the set, found ${predictions.rowCount}: ` +
        'predict the training part (kd-spec predict --predict-split train --max-top ...), or name another transfer set',
    );
  }
  const batches: { readonly first: number; readonly matrix: CsrMatrix }[] = [];
  const stored: { readonly first: number; readonly labels: Int32Array }[] = [];
  let first = 0;
  for await (const { probabilities, labels } of predictions.rows()) {
    batches.push({ first, matrix: probabilities });
    if (labels) stored.push({ first, labels });
    first += probabilities.rows;
  }
  const placeOf = new Map(ofSet.map((label, index) => [label, index]));
  const inSet = Int32Array.from(classes, (label) => placeOf.get(label) ?? -1);
  if (stored.length > 0) compareLabels(stored, inSet, await rowLabels(), { path, warn });
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

/** The labels that stand beside predictions are those of the images, if the rows are in the order of the images. */
function compareLabels(
  stored: readonly { readonly first: number; readonly labels: Int32Array }[],
  inSet: Int32Array,
  ofImages: Int32Array | undefined,
  { path, warn }: { readonly path: string; readonly warn: (text: string) => void },
): void {
  if (ofImages === undefined) return;
  let compared = 0;
  let different = 0;
  let example = '';
  for (const { first, labels } of stored) {
    for (const [position, label] of labels.entries()) {
      const row = first + position;
      if (ofImages[row] < 0) continue;
      compared++;
      if (inSet[label] === ofImages[row]) continue;
      different++;
      example ||= `row ${row} has the label ${label}, image ${row} of the set ${ofImages[row]}`;
    }
  }
  if (different === 0) return;
  const what = `${path}: ${different} of ${compared} labels are not those of the images: ${example}`;
  if (different <= compared * oddShare) {
    warn(`${what}. Were they changed since?`);
    return;
  }
  throw new KdSpecError(
    'predictions-invalid',
    `${what}; expected row r to be image r: store the predictions of this set, in its order, or leave the column label out`,
  );
}

/** Writes a sparse row as a distribution over all classes. */
function fillRow(indices: Int32Array, values: Float32Array, out: Float32Array): void {
  const left = Math.max(0, 1 - values.reduce((sum, value) => sum + value, 0));
  out.fill(left / Math.max(1, out.length - indices.length));
  for (let entry = 0; entry < indices.length; entry++) out[indices[entry]] = values[entry];
}

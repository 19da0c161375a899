import { assert, KdSpecError } from '../core/errors.js';
import { logSumExp } from '../math/softmax.js';
import { type Classifier, createClassifier, rowOf } from './classifier.js';

/** How several distributions become one. */
export type ClassifierMean = 'arithmetic' | 'geometric';

/**
 * The mean of several distributions, each given by logits.
 *
 * arithmetic: `p_i = 1/n sum_t p_ti`; geometric: `p_i` proportional to `(prod_t p_ti)^(1/n)`. Both are taken at
 * temperature 1; a higher temperature is applied to the result. (The geometric mean would be the same either way.)
 *
 * @param logits one array a classifier, (classes) each, up to a constant
 * @param mean which of the two
 * @param out (classes), where log-probabilities are written
 * Cost: one exponential for each classifier and class.
 * @see Hinton, Vinyals and Dean, arXiv 1503.02531, section 1: "an arithmetic or geometric mean"
 */
export function meanOfLogits(
  logits: readonly Float32Array[],
  mean: ClassifierMean,
  out: Float32Array | Float64Array,
): void {
  const constants = logits.map(logSumExp);
  const members = logits.length;
  for (let index = 0; index < out.length; index++) {
    let sum = 0;
    let largest = Number.NEGATIVE_INFINITY;
    for (let t = 0; t < members; t++) {
      const value = logits[t][index] - constants[t];
      sum += value;
      if (value > largest) largest = value;
    }
    if (mean === 'geometric') {
      out[index] = sum / members;
      continue;
    }
    let total = 0;
    for (let t = 0; t < members; t++) total += Math.exp(logits[t][index] - constants[t] - largest);
    out[index] = largest + Math.log(total / members);
  }
  if (mean === 'arithmetic') return;
  const constant = logSumExp(out);
  for (let index = 0; index < out.length; index++) out[index] -= constant;
}

/**
 * Several classifiers as one, which owns them.
 *
 * Where one of them knows only the rows of a set, so does the mean.
 *
 * @param members one or more
 * @throws KdSpecError `option-invalid` when they do not have the same classes, or not in the same order
 */
export function meanClassifier(members: readonly Classifier[], mean: ClassifierMean): Classifier {
  const [first] = members;
  assert(first !== undefined, 'a mean of no classifiers');
  for (const { name, classes } of members) {
    if (classes.length !== first.classes.length) {
      throw new KdSpecError(
        'option-invalid',
        `expected classifiers of the same classes: ${first.name} has ${first.classes.length}, ${name} has ${classes.length}`,
      );
    }
    const different = classes.findIndex((one, index) => one !== first.classes[index]);
    if (different === -1) continue;
    throw new KdSpecError(
      'option-invalid',
      `expected classifiers of the same classes in the same order: class ${different} is ` +
        `"${first.classes[different]}" in ${first.name} and "${classes[different]}" in ${name}`,
    );
  }
  if (members.length === 1) return first;
  const classes = first.classes.length;
  return createClassifier({
    name: `the ${mean} mean of ${members.map(({ name }) => name).join(', ')}`,
    classes: first.classes,
    input: members.find(({ input }) => input.kind === 'rows')?.input ?? first.input,
    async logits(batch, out) {
      const ofMembers: Float32Array[] = [];
      for (const member of members) ofMembers.push(await member.logits(batch));
      for (let row = 0; row < batch.count; row++) {
        const ofRow = ofMembers.map((logits) => rowOf(logits, row, classes));
        meanOfLogits(ofRow, mean, rowOf(out, row, classes));
      }
    },
    dispose() {
      for (const member of members) member.dispose();
    },
  });
}

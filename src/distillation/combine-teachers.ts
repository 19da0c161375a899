import { assert, KdSpecError } from '../core/errors.js';
import { logSumExp } from '../math/softmax.js';
import type { Question, Teacher } from './teacher.js';

/** How several teachers become one. */
export type TeacherMean = 'arithmetic' | 'geometric';

/**
 * The mean of several distributions, each given by logits.
 *
 * arithmetic: `p_i = 1/n sum_t p_ti`; geometric: `p_i` proportional to `(prod_t p_ti)^(1/n)`. Both are taken at
 * temperature 1; a higher temperature is applied to the result. (The geometric mean would be the same either way.)
 *
 * @param logits one array a teacher, (classes) each, up to a constant
 * @param mean which of the two
 * @param out (classes), where log-probabilities are written
 * Cost: one exponential for each teacher and class.
 * @see Hinton, Vinyals and Dean, arXiv 1503.02531, section 1: "an arithmetic or geometric mean"
 */
export function meanOfTeachers(
  logits: readonly Float32Array[],
  mean: TeacherMean,
  out: Float32Array | Float64Array,
): void {
  const constants = logits.map(logSumExp);
  const teachers = logits.length;
  for (let index = 0; index < out.length; index++) {
    let sum = 0;
    let largest = Number.NEGATIVE_INFINITY;
    for (let t = 0; t < teachers; t++) {
      const value = logits[t][index] - constants[t];
      sum += value;
      if (value > largest) largest = value;
    }
    if (mean === 'geometric') {
      out[index] = sum / teachers;
      continue;
    }
    let total = 0;
    for (let t = 0; t < teachers; t++) total += Math.exp(logits[t][index] - constants[t] - largest);
    out[index] = largest + Math.log(total / teachers);
  }
  if (mean === 'arithmetic') return;
  const constant = logSumExp(out);
  for (let index = 0; index < out.length; index++) out[index] -= constant;
}

/**
 * Several teachers as one.
 *
 * @throws KdSpecError `option-invalid` when they do not have the same classes
 */
export function combineTeachers(teachers: readonly Teacher[], mean: TeacherMean): Teacher {
  const [first] = teachers;
  assert(first !== undefined, 'a mean of no teachers');
  for (const { name, classes } of teachers) {
    if (classes === first.classes) continue;
    throw new KdSpecError(
      'option-invalid',
      `expected teachers of the same classes: ${first.name} has ${first.classes}, ${name} has ${classes}`,
    );
  }
  return {
    name:
      teachers.length === 1
        ? first.name
        : `the ${mean} mean of ${teachers.map(({ name }) => name).join(', ')}`,
    classes: first.classes,
    answersAnyImage: teachers.every(({ answersAnyImage }) => answersAnyImage),
    async answer(question: Question) {
      const answers: Float32Array[] = [];
      for (const teacher of teachers) answers.push(await teacher.answer(question));
      const { classes } = first;
      const out = new Float32Array(question.rows.length * classes); // (batch, classes)
      for (let row = 0; row < question.rows.length; row++) {
        const [start, end] = [row * classes, (row + 1) * classes];
        meanOfTeachers(
          answers.map((answer) => answer.subarray(start, end)),
          mean,
          out.subarray(start, end),
        );
      }
      return out;
    },
    dispose() {
      for (const teacher of teachers) teacher.dispose();
    },
  };
}

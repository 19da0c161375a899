import { checkClass, repeatedClass, type SpecialistAnswer } from './fusion-input.js';

/**
 * The classes of the active subsets, grouped by the subsets they lie in.
 *
 * Group 0 is the bucket: all classes outside the union.
 */
export interface ClassGroups {
  /** (u), the classes of the union, each once. */
  readonly union: Int32Array;
  /** (u), the group of each. */
  readonly groupOf: Int32Array;
  /** For each group, the specialists (positions) whose subsets contain it. */
  readonly members: readonly (readonly number[])[];
}

/**
 * Finds the union of the active subsets and its groups, by splitting groups with one subset after the other.
 *
 * @param specialists the active ones
 * @param classCount the number of classes
 * @param unionRow (classes or more), -1 everywhere; filled with the row in the union of each class that has one
 * @throws KdSpecError `fusion-input` when a class is out of range or comes twice in a subset
 *
 * Cost: proportional to the sum of the subsets' sizes.
 */
export function groupClasses(
  specialists: readonly SpecialistAnswer[],
  classCount: number,
  unionRow: Int32Array,
): ClassGroups {
  let room = 0;
  for (const { classes } of specialists) room += classes.length;
  const union = new Int32Array(room);
  const groupOf = new Int32Array(room);
  const lastSubset = new Int32Array(room).fill(-1); // (u), the last subset that was seen to contain the class
  const members: number[][] = [[]];
  let size = 0;

  for (let m = 0; m < specialists.length; m++) {
    const { classes } = specialists[m];
    const owner = `specialist ${m}`;
    const splitInto = new Int32Array(members.length).fill(-1); // (groups), the part of each that lies in S^m
    for (let i = 0; i < classes.length; i++) {
      const c = classes[i];
      checkClass(c, classCount, owner);
      let row = unionRow[c];
      if (row < 0) {
        row = size++;
        unionRow[c] = row;
        union[row] = c;
      }
      if (lastSubset[row] === m) throw repeatedClass(owner, c);
      lastSubset[row] = m;
      const group = groupOf[row];
      if (splitInto[group] < 0) splitInto[group] = members.push([...members[group], m]) - 1;
      groupOf[row] = splitInto[group];
    }
  }
  return { union: union.subarray(0, size), groupOf: groupOf.subarray(0, size), members };
}

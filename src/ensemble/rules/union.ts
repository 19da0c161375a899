import {
  checkClass,
  checkedSum,
  checkLengths,
  checkSum,
  checkWeight,
  noClassOutside,
  notAProbability,
  type Probabilities,
  repeatedClass,
  type SpecialistPrediction,
} from './distributions.js';
import { solveDustbins } from './dustbin-equations.js';

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
  specialists: readonly Pick<SpecialistPrediction, 'classes'>[],
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

/**
 * The number of groups, for an estimate of what a fusion costs. Cost: as {@link groupClasses}.
 *
 * @param classCount the number of classes of an example
 * @param unionRow (classes or more), -1 everywhere; left so
 */
export function countGroups(
  specialists: readonly Pick<SpecialistPrediction, 'classes'>[],
  classCount: number,
  unionRow: Int32Array,
): number {
  const { union, members } = groupClasses(specialists, classCount, unionRow);
  for (const c of union) unionRow[c] = -1;
  return members.length;
}

/** The masses that are known, before the dustbins are shared out. */
export interface KnownMasses {
  readonly generalistWeight: number;
  /** What `p^g` sums to as it came. */
  readonly generalistSum: number;
  /** (specialists), what each `p^m` sums to as it came. */
  readonly sums: Float64Array;
  /** What the generalist, as it came, puts outside the union. */
  readonly bucket: number;
  /** (u), `a_i / W`: the weighted mass of each class of the union, as a fraction of the total weight. */
  readonly union: Float64Array;
  /** (groups), the same for each group. */
  readonly group: Float64Array;
  /** (specialists), `d_m / W`. */
  readonly dustbins: Float64Array;
}

/**
 * Adds up the masses that generalist and specialists give to classes by name.
 *
 * @param bucket the generalist's mass outside the union, as it came
 * @param unionRow (classes or more), the row in the union of each class that has one
 * @throws KdSpecError `fusion-input` when something is not a distribution
 */
export function knownMasses(
  generalist: Probabilities,
  bucket: number,
  specialists: readonly SpecialistPrediction[],
  generalistWeight: number,
  { union: classes, groupOf, members }: ClassGroups,
  unionRow: Int32Array,
): KnownMasses {
  checkWeight(generalistWeight, 'the generalist');
  let generalistSum = bucket;
  for (let row = 0; row < classes.length; row++) {
    const p = generalist[classes[row]];
    if (!(p >= 0)) throw notAProbability('the generalist', classes[row], p);
    generalistSum += p;
  }
  checkSum(generalistSum, 'the generalist');

  let totalWeight = generalistWeight;
  const sums = new Float64Array(specialists.length);
  for (let m = 0; m < specialists.length; m++) {
    const owner = `specialist ${m}`;
    checkLengths(specialists[m], owner);
    totalWeight += checkWeight(specialists[m].weight ?? 1, owner);
    sums[m] = checkedSum(specialists[m].probabilities, owner);
  }

  const generalistScale = generalistWeight / totalWeight / generalistSum;
  const union = new Float64Array(classes.length);
  const group = new Float64Array(members.length);
  const dustbins = new Float64Array(specialists.length);
  for (let row = 0; row < union.length; row++) union[row] = generalistScale * generalist[classes[row]];
  for (let m = 0; m < specialists.length; m++) {
    const { classes: subset, probabilities, weight = 1 } = specialists[m];
    const share = weight / totalWeight / sums[m];
    for (let i = 0; i < subset.length; i++) union[unionRow[subset[i]]] += share * probabilities[i];
    dustbins[m] = share * probabilities[subset.length];
  }
  group[0] = generalistScale * bucket;
  for (let row = 0; row < union.length; row++) group[groupOf[row]] += union[row];
  return { generalistWeight, generalistSum, sums, bucket, union, group, dustbins };
}

/**
 * Finds q's mass on every group. Without a dustbin that has mass the known masses are the answer, and one
 * dustbin goes to the groups outside its subset in proportion to theirs; more take Newton's method.
 *
 * @returns (groups), 0 where no mass is known, and the number of Newton steps
 * @throws KdSpecError `fusion-input` when a dustbin has no group to go to
 */
export function shareDustbins(
  { group, dustbins }: KnownMasses,
  { members }: ClassGroups,
  tolerance: number,
): { readonly groupMasses: Float64Array; readonly iterations: number } {
  const full: number[] = [];
  for (let m = 0; m < dustbins.length; m++) if (dustbins[m] > 0) full.push(m);
  const outsideMasses = massesOutside(dustbins.length, group, members);
  for (const m of full) if (outsideMasses[m] === 0) throw noClassOutside(`specialist ${m}`);
  if (full.length === 0) return { groupMasses: group, iterations: 0 };
  if (full.length === 1) {
    const [m] = full;
    const groupMasses = shareOne(m, dustbins[m], outsideMasses[m], group, members);
    return { groupMasses, iterations: 0 };
  }

  const kept: number[] = []; // the groups that have mass
  for (let g = 0; g < group.length; g++) if (group[g] > 0) kept.push(g);
  const columns = new Int32Array(dustbins.length).fill(-1);
  for (const [column, m] of full.entries()) columns[m] = column;
  const outside = new Uint8Array(kept.length * full.length).fill(1); // (kept groups, full dustbins)
  for (let row = 0; row < kept.length; row++) {
    for (const m of members[kept[row]]) if (columns[m] >= 0) outside[row * full.length + columns[m]] = 0;
  }
  const known = pick(group, kept);
  const { masses, iterations } = solveDustbins({ known, dustbins: pick(dustbins, full), outside }, tolerance);
  const groupMasses = new Float64Array(group.length);
  for (let row = 0; row < kept.length; row++) groupMasses[kept[row]] = masses[row];
  return { groupMasses, iterations };
}

/** The closed form for one dustbin with mass: the groups outside get it in proportion to theirs. */
function shareOne(
  m: number,
  dustbin: number,
  sum: number,
  group: Float64Array,
  members: ClassGroups['members'],
): Float64Array {
  return group.map((mass, g) => (members[g].includes(m) ? mass : mass + dustbin * (mass / sum)));
}

/**
 * For each specialist, the sum over the groups outside its subset: `1 - Q_m`, which would cancel.
 *
 * @param members for each group, ascending
 */
export function massesOutside(
  specialists: number,
  group: Float64Array,
  members: ClassGroups['members'],
): Float64Array {
  const sums = new Float64Array(specialists);
  for (let g = 0; g < group.length; g++) {
    let next = 0;
    for (let m = 0; m < specialists; m++) {
      if (members[g][next] === m) next++;
      else sums[m] += group[g];
    }
  }
  return sums;
}

function pick(values: Float64Array, positions: readonly number[]): Float64Array {
  const picked = new Float64Array(positions.length);
  for (let i = 0; i < picked.length; i++) picked[i] = values[positions[i]];
  return picked;
}

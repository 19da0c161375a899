import { type Code, i32, kernel, type Lane, loop, set, vector } from './assembler.js';

const select = (lane: Lane, mask: Code, a: Code, b: Code): Code =>
  lane.maskOr(lane.keepWhere(mask, a), lane.maskAndNot(b, mask));

/**
 * For each row, of every fourth column the largest value and where it first stands: `output` is (rows, 8), four values
 * and then four numbers of columns, from each of which the number of the lane is left out. A last part of a row
 * that is no whole vector is left out too. `stride` is in bytes, and so is `whole`, a multiple of 16.
 */
export const firstLargest = kernel(
  'firstLargest',
  { matrix: 'i32', rows: 'i32', stride: 'i32', whole: 'i32', output: 'i32' },
  ({ parameters: p, local }) => {
    const [row, offset] = [local('i32'), local('i32')];
    const [value, best, place, bestPlace, mask] = [
      local('v128'),
      local('v128'),
      local('v128'),
      local('v128'),
      local('v128'),
    ];
    return [
      loop(row, i32.constant(0), p.rows.get, i32.constant(1), [
        set(best, vector.constant(Number.NEGATIVE_INFINITY)),
        set(bestPlace, vector.constant(0)),
        set(place, vector.constant(0)),
        loop(offset, i32.constant(0), p.whole.get, i32.constant(16), [
          set(value, vector.load(i32.add(p.matrix.get, offset.get))),
          set(mask, vector.less(best.get, value.get)),
          set(best, select(vector, mask.get, value.get, best.get)),
          set(bestPlace, select(vector, mask.get, place.get, bestPlace.get)),
          set(place, vector.add(place.get, vector.constant(4))),
        ]),
        vector.store(p.output.get, best.get, 0),
        vector.store(p.output.get, bestPlace.get, 16),
        set(p.matrix, i32.add(p.matrix.get, p.stride.get)),
        set(p.output, i32.add(p.output.get, i32.constant(32))),
      ]),
    ];
  },
);

import {
  type Code,
  i32,
  kernel,
  type Local,
  loadSpread,
  loop,
  pick,
  scalar,
  set,
  type ValueType,
  vector,
  when,
} from './assembler.js';
import { opcode } from './opcodes.js';

// Matrix products in the manner of BLIS (Van Zee and van de Geijn, ACM TOMS 41(3), 2015): both factors are
// copied into panels that the innermost loop reads in order, and a tile of the result stays in registers.
// Whether a factor is transposed only changes the strides with which its panels are filled.

// The innermost loop computes a tile of the result of this many rows and columns. Its sums take 8 of the 16 vector
// registers of x86-64; with 12 columns the compiler spills some and the loop runs a quarter slower.
const tileRows = 4;
const tileColumns = 8;
const vectors = tileColumns / 4;
const tileStride = 4 * tileColumns;

/**
 * Largest block of the left factor, in rows and depth: as (256, 256) floats it stays in the second-level cache
 * while the right factor's panels, which fit the first level, go by.
 */
export const blockRows = 256;
export const blockDepth = 256;

/** Bytes of room that a product needs beside its matrices: a packed block, one panel, one tile. */
export const productRoom = 4 * (blockRows * blockDepth + blockDepth * tileColumns + tileRows * tileColumns);

/** Where in that room the panel and the tile lie. */
export const panelOffset = 4 * blockRows * blockDepth;
export const tileOffset = panelOffset + 4 * blockDepth * tileColumns;

interface PanelLocals {
  readonly source: Local;
  readonly target: Local;
  readonly step: Local;
  readonly lane: Local;
  readonly start: Local;
  readonly lines: readonly [Local, Local, Local, Local];
  readonly pairs: readonly [Local, Local, Local, Local];
}

function panelLocals(local: (type: ValueType) => Local, target = local('i32')): PanelLocals {
  const [source, step, lane, start] = [local('i32'), local('i32'), local('i32'), local('i32')];
  const four = (): PanelLocals['lines'] => [local('v128'), local('v128'), local('v128'), local('v128')];
  return { source, target, step, lane, start, lines: four(), pairs: four() };
}

/** Copies (4, 4) floats and turns them: lane r of vector p of the target is float p of line r of the source. */
function turn({ source, target, lines, pairs }: PanelLocals, across: Code, width: number, quad: number) {
  const [a, b, c, d] = lines;
  const [low, high, lower, higher] = pairs;
  const line = (r: number) => i32.add(source.get, i32.mul(across, i32.constant(4 * quad + r)));
  const put = (p: number, value: Code) => vector.store(target.get, value, 4 * width * p + 16 * quad);
  return [
    ...lines.map((local, r) => set(local, vector.load(line(r)))),
    set(low, pick(a.get, b.get, [0, 4, 1, 5])),
    set(high, pick(a.get, b.get, [2, 6, 3, 7])),
    set(lower, pick(c.get, d.get, [0, 4, 1, 5])),
    set(higher, pick(c.get, d.get, [2, 6, 3, 7])),
    put(0, pick(low.get, lower.get, [0, 1, 4, 5])),
    put(1, pick(low.get, lower.get, [2, 3, 6, 7])),
    put(2, pick(high.get, higher.get, [0, 1, 4, 5])),
    put(3, pick(high.get, higher.get, [2, 3, 6, 7])),
  ];
}

/** Fills a panel: `target[p][r] = source[r across + p along]` for r below `count`, 0 for r up to `width`. */
function fillPanel(
  locals: PanelLocals,
  width: number,
  { across, along, count, depth }: { across: Code; along: Code; count: Code; depth: Code },
): readonly Code[] {
  const { source, target, step, lane, start } = locals;
  const advance = [
    set(target, i32.add(target.get, i32.constant(4 * width))),
    set(source, i32.add(source.get, along)),
  ];
  const whole = i32.equal(count, i32.constant(width));
  const contiguous = i32.and(i32.equal(across, i32.constant(4)), whole);
  const turned = i32.and(i32.equal(along, i32.constant(4)), whole);
  const fours = i32.and(depth, i32.constant(-4));
  const quads = Array.from({ length: width / 4 }, (_, quad) =>
    vector.store(target.get, vector.load(source.get, 16 * quad), 16 * quad),
  );
  return [
    when(contiguous, [loop(step, i32.constant(0), depth, i32.constant(1), [...quads, ...advance])]),
    when(i32.isZero(contiguous), [
      set(start, i32.constant(0)),
      when(turned, [
        loop(step, i32.constant(0), fours, i32.constant(4), [
          ...quads.flatMap((_, quad) => turn(locals, across, width, quad)),
          set(target, i32.add(target.get, i32.constant(16 * width))),
          set(source, i32.add(source.get, i32.constant(16))),
        ]),
        set(start, fours),
      ]),
      loop(step, start.get, depth, i32.constant(1), [
        ...quads.map((_, quad) => vector.store(target.get, vector.constant(0), 16 * quad)),
        loop(lane, i32.constant(0), count, i32.constant(1), [
          scalar.store(
            i32.add(target.get, i32.shl(lane.get, i32.constant(2))),
            scalar.load(i32.add(source.get, i32.mul(lane.get, across))),
          ),
        ]),
        ...advance,
      ]),
    ]),
  ];
}

const smaller = (a: Code, b: Code): Code => [...a, ...b, ...i32.less(a, b), ...opcode.select];

/** Copies a block of the left factor into panels of `tileRows` rows. Strides are in bytes. */
export const packLeft = kernel(
  'packLeft',
  { a: 'i32', rowStride: 'i32', depthStride: 'i32', rows: 'i32', depth: 'i32', panels: 'i32' },
  ({ parameters: p, local }) => {
    const row = local('i32');
    const locals = panelLocals(local, p.panels);
    return [
      loop(row, i32.constant(0), p.rows.get, i32.constant(tileRows), [
        set(locals.source, i32.add(p.a.get, i32.mul(row.get, p.rowStride.get))),
        ...fillPanel(locals, tileRows, {
          across: p.rowStride.get,
          along: p.depthStride.get,
          count: smaller(i32.sub(p.rows.get, row.get), i32.constant(tileRows)),
          depth: p.depth.get,
        }),
      ]),
    ];
  },
);

/**
 * Adds to a block of the result the product of a packed block of the left factor and a block of the right one:
 * `c[i, j] += sum over p of a[i, p] b[p, j]`, or overwrites the result when `fresh` is not 0. `panel` is room for (depth, tileColumns) floats, `tile` for
 * (tileRows, tileColumns). Strides are in bytes; the columns of c lie side by side.
 */
export const multiplyPacked = kernel(
  'multiplyPacked',
  {
    panels: 'i32',
    b: 'i32',
    depthStride: 'i32',
    columnStride: 'i32',
    c: 'i32',
    rowStride: 'i32',
    rows: 'i32',
    columns: 'i32',
    depth: 'i32',
    fresh: 'i32',
    panel: 'i32',
    tile: 'i32',
  },
  ({ parameters: p, local }) => {
    const column = local('i32');
    const row = local('i32');
    const width = local('i32');
    const height = local('i32');
    const left = local('i32');
    const right = local('i32');
    const end = local('i32');
    const target = local('i32');
    const i = local('i32');
    const j = local('i32');
    const locals = panelLocals(local);
    const factor = local('v128');
    const quads = Array.from({ length: vectors }, () => local('v128'));
    const sums = Array.from({ length: tileRows }, () => Array.from({ length: vectors }, () => local('v128')));
    const each = (write: (sum: Local, r: number, q: number) => Code): Code[] =>
      sums.flatMap((line, r) => line.map((sum, q) => write(sum, r, q)));

    const inner: Code[] = [
      ...quads.map((quad, q) => set(quad, vector.load(right.get, 16 * q))),
      ...sums.flatMap((line, r) => [
        set(factor, loadSpread(left.get, 4 * r)),
        ...line.map((sum, q) =>
          set(sum, vector.add(sum.get, vector.mul(factor.get, (quads[q] as Local).get))),
        ),
      ]),
      set(left, i32.add(left.get, i32.constant(4 * tileRows))),
    ];
    // A whole tile is added where it belongs, row by row; one at the edge goes through `tile`.
    const lineAddress = (r: number): Code => i32.add(target.get, i32.mul(p.rowStride.get, i32.constant(r)));
    const whole = i32.and(
      i32.equal(width.get, i32.constant(tileColumns)),
      i32.equal(height.get, i32.constant(tileRows)),
    );
    const put = (sum: Local, r: number, q: number) => vector.store(lineAddress(r), sum.get, 16 * q);
    const add = (sum: Local, r: number, q: number) =>
      set(sum, vector.add(vector.load(lineAddress(r), 16 * q), sum.get));
    const place = i32.add(
      i32.add(target.get, i32.mul(i.get, p.rowStride.get)),
      i32.shl(j.get, i32.constant(2)),
    );
    const placeInTile = i32.add(
      i32.add(p.tile.get, i32.mul(i.get, i32.constant(tileStride))),
      i32.shl(j.get, i32.constant(2)),
    );
    return [
      loop(column, i32.constant(0), p.columns.get, i32.constant(tileColumns), [
        set(width, smaller(i32.sub(p.columns.get, column.get), i32.constant(tileColumns))),
        set(locals.source, i32.add(p.b.get, i32.mul(column.get, p.columnStride.get))),
        set(locals.target, p.panel.get),
        ...fillPanel(locals, tileColumns, {
          across: p.columnStride.get,
          along: p.depthStride.get,
          count: width.get,
          depth: p.depth.get,
        }),
        set(end, i32.add(p.panel.get, i32.mul(p.depth.get, i32.constant(tileStride)))),
        set(left, p.panels.get),
        loop(row, i32.constant(0), p.rows.get, i32.constant(tileRows), [
          set(height, smaller(i32.sub(p.rows.get, row.get), i32.constant(tileRows))),
          ...each((sum) => set(sum, vector.constant(0))),
          loop(right, p.panel.get, end.get, i32.constant(tileStride), inner),
          set(
            target,
            i32.add(
              i32.add(p.c.get, i32.mul(row.get, p.rowStride.get)),
              i32.shl(column.get, i32.constant(2)),
            ),
          ),
          when(whole, [when(i32.isZero(p.fresh.get), each(add)), ...each(put)]),
          when(i32.isZero(whole), [
            ...each((sum, r, q) => vector.store(p.tile.get, sum.get, tileStride * r + 16 * q)),
            when(p.fresh.get, [
              loop(i, i32.constant(0), height.get, i32.constant(1), [
                loop(j, i32.constant(0), width.get, i32.constant(1), [
                  scalar.store(place, scalar.constant(0)),
                ]),
              ]),
            ]),
            loop(i, i32.constant(0), height.get, i32.constant(1), [
              loop(j, i32.constant(0), width.get, i32.constant(1), [
                scalar.store(place, scalar.add(scalar.load(place), scalar.load(placeInTile))),
              ]),
            ]),
          ]),
        ]),
      ]),
    ];
  },
);

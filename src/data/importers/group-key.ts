import { KdSpecError } from '../../core/errors.js';
import type { ImportFindings } from '../import-report.js';
import type { SplitName } from '../source.js';

const manyWithoutGroup = 0.1; // of the rows: then the key is likely to be wrong

/**
 * What `--group` names: a column of a table, or a regular part of a path, given as a regular expression with one pair
 * of parentheses around the part that names the group. `([^/_]+)_[^/]*$` takes `vendor7` of `cups/vendor7_003.jpg`.
 */
export type GroupKey =
  | { readonly kind: 'column'; readonly name: string }
  | { readonly kind: 'path'; readonly groupOf: (path: string) => string | undefined };

/**
 * Reads a `--group`: with parentheses it is a regular expression, without them the name of a column.
 *
 * @throws KdSpecError `option-invalid` for an expression that cannot be read or has not exactly one pair of parentheses
 */
export function parseGroupKey(text: string): GroupKey {
  if (!text.includes('(')) return { kind: 'column', name: text };
  let pattern: RegExp;
  try {
    pattern = new RegExp(text, 'u');
  } catch (cause) {
    throw new KdSpecError('option-invalid', `--group: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
  const pairs = (new RegExp(`${text}|`, 'u').exec('')?.length ?? 1) - 1;
  if (pairs !== 1) {
    throw new KdSpecError(
      'option-invalid',
      `--group "${text}": expected one pair of parentheses, around the part of the path that names the group, found ` +
        `${pairs}: write the others as (?:...)`,
    );
  }
  return { kind: 'path', groupOf: (path) => pattern.exec(path)?.[1] };
}

/**
 * A `--group` for a source that has no columns.
 *
 * @throws KdSpecError `option-invalid`
 */
export function pathGroup(text: string, source: string): (path: string) => string | undefined {
  const key = parseGroupKey(text);
  if (key.kind === 'path') return key.groupOf;
  throw new KdSpecError(
    'option-invalid',
    `--group "${text}": ${source} has no columns: give a regular expression with parentheses around the part of the ` +
      "path that names the group, such as '([^/_]+)_[^/]*$' for what stands before the first _ of a file's name",
  );
}

/**
 * Says which rows have no group, and which groups the source itself has in several parts.
 *
 * @param parts of each part (rows), the number of the group of each row; negative: none
 * @param options.group as it was given
 * @param options.names (groups)
 * @param options.example of a row without a group
 * @throws KdSpecError `option-invalid` when no row has a group
 */
export function reportGroups(
  parts: ReadonlyMap<SplitName, ArrayLike<number>>,
  {
    group,
    names,
    unit,
    example,
    findings,
  }: {
    readonly group: string;
    readonly names: readonly string[];
    readonly unit: 'rows' | 'images';
    readonly example: string;
    readonly findings: ImportFindings;
  },
): void {
  const partsOf = names.map(() => new Set<SplitName>());
  let rows = 0;
  let single = 0;
  for (const [part, groups] of parts) {
    rows += groups.length;
    for (let row = 0; row < groups.length; row++) {
      if (groups[row] < 0) single++;
      else partsOf[groups[row]].add(part);
    }
  }
  if (single === rows && rows > 0) {
    const isPattern = group.includes('('); // as parseGroupKey has it
    throw new KdSpecError(
      'option-invalid',
      `--group "${group}": expected a group for the ${unit}, found none for any of ${rows}, such as ${example}: ` +
        (isPattern
          ? "the expression has to match the path below the folder, as '([^/_]+)_[^/]*$' matches oak/vendor7_003.jpg"
          : 'the column is empty; name another'),
    );
  }
  if (single > 0) {
    const what = `${unit} without a group, each taken for one of its own`;
    if (single > rows * manyWithoutGroup) findings.warn(what, example, single);
    else findings.note(what, example, single);
  }
  const torn = partsOf.findIndex((of) => of.size > 1);
  if (torn < 0) return;
  findings.warn(
    'groups that the source itself has on both sides of a split',
    names[torn],
    partsOf.filter((of) => of.size > 1).length,
  );
}

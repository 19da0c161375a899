import { KdSpecError } from '../../core/errors.js';

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

import { z } from 'zod';
import { type ErrorCode, KdSpecError } from '../core/errors.js';
import { parseJson } from '../core/json-file.js';

/** The most classes that kd-spec works with. An index or label beyond is an id, or damage. */
export const classLimit = 1_000_000;
/** The metadata of a schema that holds the number of classes. */
export const classesKey = 'kd-spec.classes';
/** And that which holds their names, a JSON list. */
export const namesKey = 'kd-spec.names';

/**
 * The class names that the metadata of a schema holds, under `kd-spec.names`.
 *
 * @param path where the metadata is from
 * @param options.otherwise the names that count where the metadata has none
 * @param options.code of the error
 * @throws KdSpecError `code` where they are no list of texts, one comes twice, or they are not as many as
 *   `kd-spec.classes` says
 */
export function recordedNames(
  path: string,
  metadata: ReadonlyMap<string, string>,
  { otherwise, code }: { readonly otherwise?: readonly string[] | undefined; readonly code: ErrorCode },
): readonly string[] | undefined {
  const text = metadata.get(namesKey);
  const count = metadata.get(classesKey);
  const names =
    text === undefined
      ? otherwise
      : parseJson(text, path, z.array(z.string()), {
          code,
          advice: `write the metadata ${namesKey} as a JSON list of names, or leave it out`,
        });
  if (names === undefined) return undefined;
  const isCounted = count === undefined || Number(count) === names.length;
  const isPossible = names.length >= 1 && names.length <= classLimit;
  if (isCounted && isPossible && new Set(names).size === names.length) return names;
  throw new KdSpecError(
    code,
    `${path}: expected in the metadata one name for each ${isCounted ? 'class' : `of ${count} classes`}, found ` +
      `${names.length} names${isCounted && isPossible ? ', some of them twice' : ''}: write them again, or leave them out`,
  );
}

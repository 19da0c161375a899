import type { z } from 'zod';
import { type ErrorCode, KdSpecError } from './errors.js';
import { foreignKind } from './file-kind.js';
import { schemaProblem } from './schema-problem.js';

/** The code of the error for text that is no JSON, or does not fit, and what helps then. */
interface JsonProblem {
  readonly code: ErrorCode;
  readonly advice: string;
}

/**
 * Parses the text of a JSON file and checks it against a schema. A byte order mark before it is no harm.
 *
 * @param path where the text is from
 * @throws KdSpecError `code`, with what the file is instead where that can be told
 */
export function parseJson<T>(
  text: string,
  path: string,
  schema: z.ZodType<T>,
  { code, advice }: JsonProblem,
): T {
  const value = parseJsonText(text, path, { code, advice });
  const { data, success, error } = schema.safeParse(value);
  if (success) return data;
  throw new KdSpecError(code, `${path}: ${schemaProblem(value, error)}; ${advice}`);
}

/** {@link parseJson} without a schema. */
export function parseJsonText(text: string, path: string, { code, advice }: JsonProblem): unknown {
  try {
    return JSON.parse(text.replace(/^\ufeff/, ''));
  } catch (cause) {
    const kind = foreignKind(Buffer.from(text.slice(0, 256)));
    const position = cause instanceof Error ? /at position (\d+)/.exec(cause.message)?.[1] : undefined;
    const line = position && ` (line ${text.slice(0, Number(position)).split('\n').length})`;
    throw new KdSpecError(code, `${path} is not JSON${line ?? ''}: ${kind ?? advice}`, { cause });
  }
}

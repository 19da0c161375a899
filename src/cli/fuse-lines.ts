import { readFile } from 'node:fs/promises';
import { text as readStream } from 'node:stream/consumers';
import { z } from 'zod';
import { KdSpecError } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import { foreignKind } from '../core/file-kind.js';
import { schemaProblem } from '../core/schema-problem.js';
import { fuse } from '../ensemble/rules/paper.js';

const probability = z.number();
const mostClass = 2 ** 31 - 1;
const weightError = ({ input }: { readonly input?: unknown }) =>
  `expected a number above 0, got ${JSON.stringify(input)}; a specialist that is to count for nothing is left out`;
const lineSchema = z.strictObject({
  generalist: z.array(probability).min(1),
  specialists: z.array(
    z.strictObject({
      classes: z.array(z.int().nonnegative().max(mostClass)).min(1),
      probabilities: z.array(probability),
      weight: z.number({ error: weightError }).positive({ error: weightError }).optional(),
    }),
  ),
});

/** A fused distribution, with the value of the problem that it solves and the steps that this took. */
interface FusedLine {
  readonly probabilities: readonly number[];
  readonly objective: number;
  readonly iterations: number;
}

/**
 * Fuses distributions that stand in a file, one image a line.
 *
 * @param path a file, or `-` for standard input
 * @throws KdSpecError `not-found`, `not-readable`; `fusion-input` naming the line that is not as expected
 */
export async function fuseLines(path: string, generalistWeight: number): Promise<readonly FusedLine[]> {
  const place = path === '-' ? 'standard input' : path;
  const text =
    path === '-'
      ? await readStream(process.stdin)
      : await readFile(path, 'utf8').catch((error: unknown) => {
          throw asFileError(error, path, 'distributions as JSON lines');
        });
  const kind = foreignKind(Buffer.from(text.slice(0, 256)));
  if (kind !== undefined && text !== '')
    throw new KdSpecError('fusion-input', `expected distributions as JSON lines in ${place}, but ${kind}`);
  const lines = text.replace(/^\ufeff/, '').split(/\r?\n/);
  const results: FusedLine[] = [];
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const where = `${place}:${index + 1}`;
    const { generalist, specialists } = readLine(line, where);
    try {
      const fused = fuse(
        Float64Array.from(generalist),
        specialists.map(({ classes, probabilities, weight = 1 }) => ({
          classes: Int32Array.from(classes),
          probabilities: Float64Array.from(probabilities),
          weight,
        })),
        { generalistWeight },
      );
      results.push({ ...fused, probabilities: [...fused.probabilities] });
    } catch (error) {
      if (!(error instanceof KdSpecError)) throw error;
      throw new KdSpecError(error.code, `${where}: ${error.message}`, { cause: error });
    }
  }
  if (results.length === 0) {
    throw new KdSpecError(
      'fusion-input',
      `${place}: expected distributions, a JSON object on each line, found none`,
    );
  }
  return results;
}

function readLine(line: string, where: string): z.infer<typeof lineSchema> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new KdSpecError('fusion-input', `${where}: expected a JSON object, found other text`, { cause });
  }
  const { data, error } = lineSchema.safeParse(value);
  if (data) return data;
  // What is wrong with a weight is said in our own words, whatever else is wrong with the line.
  const weight = error.issues.find(({ path }) => path.at(-1) === 'weight');
  const problem = weight
    ? `${z.core.toDotPath(weight.path)}: ${weight.message}`
    : 'expected {"generalist": [...], "specialists": [{"classes": [...], "probabilities": [...]}]}: ' +
      schemaProblem(value, error);
  throw new KdSpecError('fusion-input', `${where}: ${problem}`);
}

import { readFile, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { KdSpecError } from '../../core/errors.js';
import { parseJsonText } from '../../core/json-file.js';
import { schemaProblem } from '../../core/schema-problem.js';
import type { Subset } from './subsets.js';

export const subsetsFileName = 'subsets.json';

const advice = 'write it again, or make it with kd-spec cluster';

/** What `subsets.json` holds. */
const subsetsSchema = z
  .strictObject({
    classes: z.int().min(1),
    subsets: z.array(z.strictObject({ id: z.int().min(0), classes: z.array(z.int().min(0)).min(1) })),
  })
  .superRefine(({ classes, subsets }, context) => {
    const ids = new Set<number>();
    subsets.forEach((subset, position) => {
      const complain = (message: string, ...path: (string | number)[]) =>
        context.addIssue({ code: 'custom', message, path: ['subsets', position, ...path] });
      if (ids.has(subset.id)) complain(`id ${subset.id} comes twice`, 'id');
      ids.add(subset.id);
      const seen = new Set<number>();
      for (const label of subset.classes) {
        if (label >= classes) complain(`class ${label}, expected one below ${classes}`, 'classes');
        if (seen.has(label)) complain(`class ${label} comes twice`, 'classes');
        seen.add(label);
      }
    });
  });

/** Subsets with the number of classes that they were taken from. */
export interface SubsetsFile {
  readonly classes: number;
  readonly subsets: readonly Subset[];
}

/**
 * Writes `subsets.json`: `{ "classes": C, "subsets": [ { "id": 0, "classes": [ ... ] } ] }`.
 *
 * @throws KdSpecError `subsets-invalid` when the content does not fit the file's schema
 *
 * @example
 * await writeSubsets('subsets.json', { classes: 3, subsets: [{ id: 0, classes: [2, 0] }] });
 */
export async function writeSubsets(path: string, content: SubsetsFile): Promise<void> {
  const { classes, subsets } = checkSubsets(content, path);
  const lines = subsets.map((subset) => `    ${JSON.stringify(subset)}`).join(',\n');
  await writeFile(path, `{\n  "classes": ${classes},\n  "subsets": [\n${lines}\n  ]\n}\n`);
}

/**
 * Reads and checks `subsets.json`.
 *
 * @throws KdSpecError `not-found` without the file; `subsets-invalid`, with the place in the file, when it is
 *   no JSON, has other keys, or has classes out of range or twice in a subset
 *
 * @example
 * const { classes, subsets } = await readSubsets('kd-workspace/subsets/subsets.json');
 * console.log(subsets.length, classes);
 */
export async function readSubsets(path: string): Promise<SubsetsFile> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new KdSpecError(
      isMissing ? 'not-found' : 'not-readable',
      isMissing
        ? `no subsets file at ${path}: make one with kd-spec cluster`
        : `cannot read ${path}: ${cause}`,
      { cause },
    );
  }
  const content = parseJsonText(text, path, { code: 'subsets-invalid', advice });
  return checkSubsets(content, path);
}

function checkSubsets(content: unknown, path: string): SubsetsFile {
  const result = subsetsSchema.safeParse(content);
  if (result.success) return result.data;
  throw new KdSpecError(
    'subsets-invalid',
    `${path}: expected {"classes": 100, "subsets": [{"id": 0, "classes": [...]}]}: ${schemaProblem(content, result.error)}; ` +
      advice,
  );
}

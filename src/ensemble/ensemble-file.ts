import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { KdSpecError } from '../core/errors.js';
import { fusionRules } from './fusion/fusion-rules.js';

const positive = z.number().positive();

const ensembleFileSchema = z.looseObject({
  /** n of the top-n rule: a specialist is asked when its subset meets the generalist's n most probable classes. */
  routingTop: z.int().positive(),
  /** Instead of the rule: a specialist is asked when the generalist puts at least this much mass on its subset. */
  routingMass: z.number().positive().max(1).nullish(),
  rule: z.enum(fusionRules),
  /** How far the dustbins are believed, under the rule `combine`. */
  dustbinTrust: z.number().min(0).max(1).optional(),
  generalistTemperature: positive,
  specialists: z
    .array(
      z.looseObject({
        id: z.int().nonnegative(),
        temperature: positive,
        weight: positive,
        /** Whether it takes part at inference. */
        kept: z.boolean(),
      }),
    )
    .readonly(),
});

/** How generalist and specialists are put together: what `ensemble.json` says. Everything in it was chosen on validation. */
export type EnsembleFile = z.infer<typeof ensembleFileSchema>;

export const ensembleFileName = 'ensemble.json';

/** @throws KdSpecError `not-found`, or `checkpoint-invalid` when the file does not fit its schema */
export async function readEnsembleFile(directory: string): Promise<EnsembleFile> {
  const path = join(directory, ensembleFileName);
  const text = await readFile(path, 'utf8').catch(() => {
    throw new KdSpecError(
      'not-found',
      `no ensemble at ${path}: run kd-spec calibrate first, or check the workspace`,
    );
  });
  try {
    return ensembleFileSchema.parse(JSON.parse(text));
  } catch (cause) {
    const reason = cause instanceof z.ZodError ? z.prettifyError(cause) : 'it is not JSON';
    throw new KdSpecError('checkpoint-invalid', `${path}: ${reason}; run kd-spec calibrate again`, { cause });
  }
}

import { z } from 'zod';

const count = z.int().nonnegative();

const split = z.object({
  rows: count,
  shards: z.array(
    z.object({
      file: z.string().regex(/^[^/\\]+\.arrow$/),
      rows: count,
      bytes: count,
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
    }),
  ),
});

/** The schema of `kd-spec.json` in a data set. */
export const datasetManifest = z.object({
  format: z.literal('kd-spec-dataset'),
  version: z.literal(1),
  description: z.string(),
  classes: z.int().positive(),
  image: z.object({
    height: z.int().positive(),
    width: z.int().positive(),
    channels: z.union([z.literal(1), z.literal(3)]),
    isFeatures: z.literal(true).optional(),
    logits: z.int().positive().optional(),
  }),
  augmentation: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('none') }),
    z.object({ kind: z.literal('shift'), pixels: count }),
    z.object({ kind: z.literal('degrade'), strength: z.number().nonnegative() }),
  ]),
  ceiling: z.object({ top1: z.number(), standardError: z.number(), examples: count }).optional(),
  splits: z.object({ train: split, validation: split, test: split }),
});

export type DatasetManifest = z.infer<typeof datasetManifest>;

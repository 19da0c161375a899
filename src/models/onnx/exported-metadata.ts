import { z } from 'zod';
import { KdSpecError } from '../../core/errors.js';
import { schemaProblem } from '../../core/schema-problem.js';
import { ensembleKey, type OnnxModel } from './model-file.js';

// What an exported file says about itself, in its metadata: key `kd_spec_ensemble`, as JSON. The fused output, the class
// names and how images are fed have keys of their own, which any ONNX classifier of kd-spec is read by.

const share = z.number().min(0).max(1);

/** What a patch did, as measured when it was made. */
export const patchRecordSchema = z.strictObject({
  specialists: z.int().nonnegative(),
  /** Classes that had images. */
  classes: z.int().nonnegative(),
  before: z.strictObject({ top1: share, bystanders: share.nullable() }),
  after: z.strictObject({ top1: share, bystanders: share.nullable() }),
});
export type PatchRecord = z.infer<typeof patchRecordSchema>;

const exportedMetadataSchema = z.looseObject({
  version: z.literal(1),
  /** The output with the generalist's distribution. */
  generalist: z.string(),
  /** Whether that stands on a last layer that was refitted, and the model's own output does not. */
  isRefitted: z.boolean().exactOptional(),
  rule: z.string(),
  /** What the generalist's logits are divided by; absent where several patches have each their own, and in files of version 0.1. */
  generalistTemperature: z.number().positive().exactOptional(),
  /** The share of every distribution that is spread over all classes, for labels that are noise; absent: none. */
  labelNoise: share.exactOptional(),
  /** How often specialists were written into this graph: each time under another prefix. */
  exports: z.int().positive(),
  /** Specialists that take part. */
  specialists: z.int().nonnegative(),
  /** Of an imported model: the value that its head is found from, its blank, and its own output where that was replaced. */
  imported: z
    .strictObject({
      logits: z.string(),
      blank: z.int().nonnegative().nullable(),
      replaced: z.string().nullable(),
    })
    .nullable(),
  /** The outputs of a trace, where there are some: of each patch that was made with one. */
  traces: z
    .array(
      z.strictObject({
        /** The output (batch, slots) with positions in the list below; its length stands for none. */
        ids: z.string(),
        /** The output (batch, slots, largest subset + 1), filled up before the dustbin, which is last. */
        probabilities: z.string(),
        specialists: z
          .array(
            z.strictObject({
              id: z.int().nonnegative(),
              classes: z.array(z.int().nonnegative()).readonly(),
              correction: z.number(),
            }),
          )
          .readonly(),
      }),
    )
    .readonly(),
  /** The oldest first. */
  patches: z.array(patchRecordSchema).readonly(),
});

/** What an exported file says about itself. */
export type ExportedMetadata = z.infer<typeof exportedMetadataSchema>;

/**
 * What an exported file says about itself.
 *
 * @returns undefined for any other ONNX model
 * @throws KdSpecError `checkpoint-invalid` when it was written by a newer version, or is damaged
 */
export function readExportedMetadata(
  model: Pick<OnnxModel, 'path' | 'metadata'>,
): ExportedMetadata | undefined {
  const text = model.metadata.get(ensembleKey);
  if (text === undefined) return undefined;
  const problem = (what: string) =>
    new KdSpecError(
      'checkpoint-invalid',
      `${model.path}: metadata "${ensembleKey}": ${what}; export the ensemble again`,
    );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw problem('expected JSON');
  }
  const { data, error } = exportedMetadataSchema.safeParse(value);
  if (data) return data;
  throw problem(schemaProblem(value, error));
}

import { z } from 'zod';
import type { RivalsReport } from './compare-rivals.js';

const count = z.int().nonnegative();
const share = z.number().min(0).max(1);
const difference = z.number().min(-1).max(1);
const standardError = z.number().nonnegative();

const figures = z.object({
  settings: z
    .record(z.string(), z.number())
    .describe(
      'the numbers that validation chose: shares of a mixture, a shift of classes with images in nats',
    ),
  top1: share,
  gain: difference.describe('over the generalist, or the model as it was, on the same test images'),
  standardError,
  harm: z
    .object({ harm: difference, standardError })
    .exactOptional()
    .describe('accuracy that bystanders lose'),
});

/** The schema of `rivals.json`. */
export const rivalsSchema = z.object({
  classes: count,
  classesWithImages: count,
  features: count,
  trainingRows: count.describe('rows of features that rivals were trained on: of each image several views'),
  test: z
    .object({ examples: count, top1: share, standardError })
    .describe('images of classes with data, and the generalist on them'),
  bystanders: z
    .object({ description: z.string(), fit: count, test: count, top1: share })
    .nullable()
    .describe('null where there are none, and nothing measures harm'),
  bound: share.nullable().describe('on the harm'),
  rivals: z
    .array(
      z.object({
        name: z.string(),
        what: z.string(),
        flops: z
          .number()
          .nonnegative()
          .describe('multiplications and additions of a prediction, after the backbone that all share'),
        parameters: count.describe('numbers that were fitted or stored'),
        trainingSeconds: z.number().nonnegative(),
        trainingFlops: z.number().nonnegative(),
        best: figures.describe('as validation alone chooses its numbers'),
        bounded: figures
          .nullable()
          .describe('as validation chooses them within the bound; null where nothing is within it'),
        frontier: z
          .array(figures.extend({ bound: share }))
          .describe('the same under other bounds, where anything is within them'),
        likelihood: z
          .object({ before: z.number(), after: z.number() })
          .exactOptional()
          .describe('negative log-likelihood of test images, in nats'),
      }),
    )
    .describe('the generalist first, the ensemble of the workspace last'),
  verdict: z.object({
    better: z
      .string()
      .nullable()
      .describe('the rival that is better than the ensemble by two standard errors'),
    difference: difference.describe('of the best rival over the ensemble'),
    standardError,
    text: z.string(),
  }),
}) satisfies z.ZodType<RivalsReport>;

import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { splitNames } from '../data/source.js';
import type { CardReport } from './model-card.js';
import type { Report } from './report.js';
import { rivalsSchema } from './rivals/rivals-schema.js';

const count = z.int().nonnegative();
const share = z.number().min(0).max(1);
const difference = z.number().min(-1).max(1);
const standardError = z.number().nonnegative();
const top1 = z.object({ top1: share, top1StandardError: standardError });
const accuracy = top1.extend({ top5: share, top5StandardError: standardError });
const top1Difference = z.object({ top1: difference, top1StandardError: standardError });
const accuracyDifference = top1Difference.extend({ top5: difference, top5StandardError: standardError });

export const tradeOffSchema = z
  .array(
    z.object({
      top1Gain: difference.describe('of top-1 on validation'),
      top1StandardError: standardError,
      harm: difference.describe('accuracy that bystanders lose'),
      standardError,
    }),
  )
  .describe(
    'what other bounds on the harm would bring: each half of validation and bystanders with what was chosen on the other half',
  );

const likelihoodFit = z.object({
  negativeLogLikelihood: z.number().describe('mean, in nats'),
  standardError,
  calibrationError: z.number().nonnegative().describe('expected calibration error'),
});

/** A class with its probability. */
export const rankedClassSchema = z.object({ index: count, class: z.string(), probability: share });

/** The schema of `report.json`. */
export const reportSchema = z.object({
  test: z
    .object({
      examples: count,
      classes: count.exactOptional().describe('that have an example'),
      generalist: accuracy,
      ensemble: accuracy,
      difference: accuracyDifference.describe('ensemble minus generalist, paired'),
      relativeGain: z.number().exactOptional(),
      fixed: count.exactOptional().describe('the generalist is wrong, the ensemble right'),
      broken: count.exactOptional().describe('the other way round'),
    })
    .describe('every example of the split, predicted among all classes'),
  conditional: z
    .object({
      examples: count,
      pairs: count.describe('of an example and a specialist that covers its label'),
      generalist: top1,
      specialists: top1,
      ensemble: top1,
      difference: top1Difference.describe('ensemble minus generalist, paired'),
      relativeGain: z.number().exactOptional(),
    })
    .describe('predictions restricted to the classes of a specialist that covers the label'),
  coverage: z.array(
    z.object({
      specialists: count.describe('how many cover the label'),
      examples: count,
      generalistCorrect: count,
      ensembleCorrect: count,
      relativeChange: z.number().exactOptional(),
      relativeChangeStandardError: standardError.exactOptional(),
    }),
  ),
  likelihood: z
    .object({ generalist: likelihoodFit, ensemble: likelihoodFit })
    .describe('of the labels of the split'),
  specialists: z
    .array(
      z.object({
        id: count,
        size: count,
        routed: z
          .object({ examples: count, gain: difference, standardError })
          .describe('where it was active: ensemble minus generalist'),
        covered: z
          .object({
            examples: count,
            generalist: share,
            specialist: share,
            ensemble: share,
            gain: difference.describe('specialist minus generalist'),
            standardError,
          })
          .describe('where it covers the label, predictions restricted to its classes'),
      }),
    )
    .describe('those that validation kept'),
  dataset: z.object({ description: z.string(), classes: count }),
  split: z.enum(splitNames),
  subsets: z.array(z.object({ id: count, classes: z.array(z.string()) })),
  fusion: z.object({
    rule: z.string(),
    kept: count,
    trained: count,
    rules: z
      .array(
        z.object({
          rule: z.string(),
          kept: count,
          top1: share,
          negativeLogLikelihood: z.number(),
          calibrationError: share,
        }),
      )
      .exactOptional()
      .describe(
        "figures on validation of each rule that was fitted, each half of the images with what was chosen on the other half; the one in use first, the paper's always among them",
      ),
  }),
  original: top1
    .extend({ difference: top1Difference.describe('ensemble minus it, paired') })
    .exactOptional()
    .describe('of an imported model as it was, where the generalist has another last layer (--refit-share)'),
  bystanders: z
    .object({
      description: z.string(),
      examples: count,
      labelled: count,
      generalist: top1.exactOptional().describe('or of the model as it was'),
      ensemble: top1.exactOptional(),
      agreement: share.describe(
        "of images whose most probable class is the generalist's, or was the model's",
      ),
      harm: difference.describe('accuracy lost, and changed predictions of images without a label'),
      standardError,
      bound: share.exactOptional().describe('on the harm, under which the rule was chosen'),
      tradeOff: tradeOffSchema.exactOptional(),
    })
    .exactOptional()
    .describe('images of what no specialist learned'),
  rivals: rivalsSchema.exactOptional().describe('what else could be done with the same images'),
  stages: z.array(
    z.object({
      stage: z.string(),
      seconds: z.number().nonnegative(),
      trainingSeconds: z.number().nonnegative().exactOptional(),
      trainingFlops: z.number().nonnegative().exactOptional(),
    }),
  ),
  ceiling: z.object({ top1: share, standardError, examples: count }).exactOptional(),
  inference: z
    .object({
      active: z.number().nonnegative().describe('specialists queried, mean over the images'),
      generalistFlops: z.number().nonnegative().describe('an image'),
      ensembleFlops: z.number().nonnegative(),
      generalistImagesPerSecond: z.number().nonnegative(),
      ensembleImagesPerSecond: z.number().nonnegative(),
      generalistParameters: count,
      specialistParameters: count.describe('of the kept ones, without what they share with the generalist'),
    })
    .exactOptional(),
  routing: z
    .array(
      z.object({
        rule: z.enum(['top', 'mass']),
        value: z.number().positive(),
        active: z.number().nonnegative(),
        flopsPerImage: z.number().nonnegative(),
        top1: share.describe('on validation'),
      }),
    )
    .exactOptional(),
  curve: z
    .array(
      z.object({
        epoch: z.number().nonnegative(),
        loss: z.number(),
        validationTop1: share.exactOptional(),
        validationLoss: z.number().exactOptional(),
      }),
    )
    .describe("of the generalist's training")
    .exactOptional(),
  student: accuracy
    .extend({ parameters: count })
    .exactOptional()
    .describe('the distilled student on the same images'),
  example: z
    .object({
      row: count,
      label: z.object({ index: count, class: z.string() }),
      image: z.object({
        height: count,
        width: count,
        channels: z.union([z.literal(1), z.literal(3)]),
        png: z.string().startsWith('data:image/png;base64,'),
      }),
      differs: z.boolean(),
      isFixed: z.boolean().exactOptional(),
      generalist: z.array(rankedClassSchema),
      ensemble: z.array(rankedClassSchema),
      specialists: z.array(
        z.object({ id: count, size: count, dustbin: share, top: z.array(rankedClassSchema) }),
      ),
    })
    .exactOptional(),
}) satisfies z.ZodType<Report>;

/** The report of a workspace; undefined where there is none, or of another version. */
export async function readReport(path: string): Promise<CardReport | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return reportSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

import { z } from 'zod';
import type { JsonObject } from '../core/json.js';
import { objectiveKinds } from '../distillation/student-objective.js';
import type { Report } from '../evaluation/report.js';
import { reportSchema, tradeOffSchema } from '../evaluation/report-schema.js';
import type { RivalsReport } from '../evaluation/rivals/compare-rivals.js';
import { rivalsSchema } from '../evaluation/rivals/rivals-schema.js';
import type { StageName } from './stage-names.js';

const count = z.int().nonnegative();
const share = z.number().min(0).max(1);
const seconds = z.number().nonnegative();
const onValidation = z.object({
  negativeLogLikelihood: z.number(),
  top1: share,
  calibrationError: share.describe('expected calibration error'),
});

const harm = z.number().min(-1).max(1).describe('accuracy of the generalist less that of the ensemble');
const onBystanders = z
  .object({
    examples: count,
    harm,
    standardError: z.number().nonnegative(),
    bound: share.nullable().describe('on the harm with one standard error to spare; null: none'),
    crossFitted: z
      .object({ harm, standardError: z.number().nonnegative() })
      .describe('each half with what was chosen on the other half'),
    tradeOff: tradeOffSchema.exactOptional(),
    refused: harm
      .exactOptional()
      .describe('the least harm that was found, where all of it was beyond the bound: no specialist is kept'),
  })
  .describe('images of what no specialist learns; absent where there are none');
const top1 = z.object({ top1: share, top1StandardError: z.number().nonnegative() });

const accuracy = z.object({
  examples: count,
  errors: count,
  top1: share,
  unseen: z
    .object({ examples: count, errors: count })
    .describe('of classes of which the transfer set had no image'),
});

const answers = z.object({
  teacher: z.string(),
  transfer: z.string().describe('the images'),
  images: count,
  views: count.describe('augmentations of each image; 0: the image as it is'),
  rows: count,
  classes: count,
  top: count.describe('classes stored per row'),
  keptMass: z.number().nonnegative().describe('probability that they hold, on average'),
  validation: accuracy.exactOptional().describe('of the teacher; absent for stored predictions'),
  test: accuracy.exactOptional(),
  generalist: z
    .object({ validation: accuracy, test: accuracy })
    .exactOptional()
    .describe("of the workspace, where the teacher is it or its ensemble; the student's own rival"),
});

/** How a foreign model was read. */
const imported = z.object({
  classes: count,
  classNames: z.string().describe('where the names of the classes come from'),
  features: count.describe('numbers that the last layer takes for an image'),
  featureTensor: z.string().describe('the value of the graph that holds them'),
  logits: z.string().describe('the output that was followed back to the last layer'),
  outputHolds: z.enum(['logits', 'log-probabilities', 'probabilities', 'scores']),
  blank: count.nullable().describe('the output of a sequence recogniser that stands for no character'),
  input: z.object({
    name: z.string(),
    type: z.string(),
    layout: z.string(),
    shape: z.array(count).describe('height, width, channels'),
    order: z.enum(['rgb', 'bgr']),
    mean: z.array(z.number()),
    std: z.array(z.number()),
  }),
  check: z
    .object({
      examples: count,
      top1: share.describe('with the chosen reading'),
      readings: z
        .array(
          z.object({
            name: z.string(),
            examples: count
              .exactOptional()
              .describe(
                'that it was tried on: fewer where the first ones showed that another reading does better',
              ),
            top1: share,
            negativeLogLikelihood: z.number(),
          }),
        )
        .describe('every reading that was tried, the best first'),
    })
    .describe('the model on labelled images'),
  notes: z.array(z.string()).describe('what was read from somewhere, assumed, or is doubtful'),
  refit: z
    .object({
      share: share.describe('of the refitted layer in the mixture that specialists stand on'),
      backend: z.string().describe('that trained it'),
      classes: count.describe('whose logits were trained; the others keep the weights that they had'),
      seconds,
      flops: z.number().nonnegative(),
      before: share.describe('top-1 on validation of the model as it is'),
      after: share.describe('top-1 on validation of the mixture'),
    })
    .exactOptional()
    .describe('of the last layer, with --refit-share'),
});

const sourceState = z.object({
  files: count,
  bytes: count,
  modifiedMs: count.describe('since 1970, of the file that was modified last'),
});

const findings = z.array(
  z.object({
    what: z.string(),
    count,
    example: z.string(),
    isWarning: z.literal(true).exactOptional().describe('it is likely to be a mistake'),
  }),
);

/** The metrics in the manifest of one specialist. */
export const specialistMetrics = z.object({
  loss: z.number(),
  dustbinCorrection: z.number().describe('added to the dustbin logit, in nats'),
  firstDivergence: z.number().describe('of its first prediction from the generalist, in nats'),
  trainingFlops: z.number().nonnegative(),
});

/**
 * The metrics that stages leave in their manifests and that their commands print. Those of the report are
 * the report itself.
 */
export const stageMetrics = {
  dataset: z.object({
    description: z.string(),
    classes: count,
    train: count,
    validation: count,
    test: count,
    shards: count,
    bytes: count,
    bystanders: z
      .object({
        description: z.string(),
        teach: count.describe('images that teach dustbins'),
        bound: count.describe('images that bound the harm'),
        test: count.describe('images for the test'),
        unlabelled: count.describe('of these images, those without a label'),
        classes: count.describe('of which there are test images with a label'),
        heldOut: z
          .array(z.string())
          .exactOptional()
          .describe('classes with images that were kept from the specialists'),
      })
      .exactOptional()
      .describe('images that measure what specialists do to the rest of the classifier'),
    model: z
      .object({ notes: z.array(z.string()).describe('what was assumed of it') })
      .exactOptional()
      .describe('the imported model whose classes and images these are'),
    import: z
      .object({
        kind: z.string().describe('what the source was recognised as'),
        leftOut: findings.describe('what was left out, and why'),
        notes: findings.describe('what was converted or assumed'),
      })
      .exactOptional()
      .describe('absent for generated data sets'),
    sourceState: sourceState
      .exactOptional()
      .describe('of the source before it was imported, by which a change of it is noticed'),
    bystandersState: sourceState.exactOptional().describe('the same of the bystanders'),
  }),
  generalist: z.object({
    epochs: z.number().nonnegative().describe('done; early stopping may end one before it is whole'),
    keptEpoch: z
      .number()
      .nonnegative()
      .exactOptional()
      .describe('whose weights were kept: the best on validation with early stopping, else the last'),
    steps: count,
    loss: z.number().describe('of training, at the end'),
    parameters: count,
    flopsPerImage: z.number().nonnegative().describe('of a forward pass'),
    trainingFlops: z.number().nonnegative(),
    trainingSeconds: seconds,
    validation: z
      .object({ top1: share, negativeLogLikelihood: z.number() })
      .exactOptional()
      .describe('of the weights that were kept, on the first validation images, at most 5,000'),
    imported: imported
      .exactOptional()
      .describe('of a foreign model; absent where the generalist was trained'),
  }),
  predictions: z.object({
    split: z.enum(['train', 'validation', 'test']),
    rows: count,
    meanTop: z.number().nonnegative().describe('classes stored per image'),
    meanMass: z.number().nonnegative().describe('probability that they hold'),
    top1: share,
  }),
  subsets: z.object({
    subsets: z
      .string()
      .describe('the file of subsets: its path as the cluster command prints it, its name in the artefact'),
    classes: count,
    count,
    sizes: z.object({ least: count, median: z.number().nonnegative(), most: count }),
    coverage: share.describe('share of the classes that are in a subset'),
    confusionInside: share.describe('share of the confusion that is between classes of a common subset'),
    masses: z
      .object({ least: share, median: share, most: share })
      .exactOptional()
      .describe('shares of the confusion that the classes of a subset take part in'),
    inertia: z.number().nonnegative(),
    entries: count.describe('of the sparse affinity matrix'),
    seconds: z.object({ affinity: seconds, clustering: seconds }),
    classesBySubset: z.array(
      z.object({
        id: count,
        size: count,
        confusionInside: share
          .exactOptional()
          .describe("share of the confusion of the subset's classes that is with one another"),
        mostTypical: z.array(z.string()),
      }),
    ),
  }),
  specialists: z.object({
    specialists: count,
    doneBefore: count.describe('finished by an earlier, interrupted run'),
    workers: count.describe('processes on this machine that trained; 0 where a cluster did'),
    engine: z.string().exactOptional().describe('who trained them'),
    trainingSeconds: seconds.describe('over all processes, with what all specialists share'),
    trainingFlops: z.number().nonnegative(),
    views: count
      .exactOptional()
      .describe('augmented views of each training image; absent with --retrain all'),
    sharedSeconds: seconds.describe(
      'of computing the features that all specialists share; 0 when all were done before',
    ),
    bySpecialist: z.array(z.object({ id: count, classes: count, ...specialistMetrics.shape })),
    validation: z
      .object({
        examples: count,
        pairs: count.describe('of an image and a specialist that covers its label'),
        generalist: top1,
        specialists: top1,
      })
      .exactOptional()
      .describe('conditional top-1: only the classes of a specialist, on images of them'),
  }),
  ensemble: z.object({
    rule: z.string(),
    specialists: count,
    kept: count,
    generalistTemperature: z.number().positive(),
    labelNoise: z
      .number()
      .min(0)
      .max(1)
      .exactOptional()
      .describe(
        'share of labels that may be any class, and so of every distribution; 0 where it was not fitted',
      ),
    weight: z.number().positive().nullable().describe('median over specialists; null when there is none'),
    parameters: z
      .record(z.string(), z.number())
      .describe('of the rule, per ensemble; named in docs/method.md'),
    examples: count.describe('validation images that it was fitted to'),
    isShared: z
      .literal(true)
      .exactOptional()
      .describe(
        'specialists share their parameters, since fitting each beside so many would have taken too long',
      ),
    generalist: onValidation.describe('at temperature 1'),
    calibratedGeneralist: onValidation
      .exactOptional()
      .describe('with a temperature and a share of label noise of its own, as far as these are fitted'),
    uncalibrated: onValidation.describe('by the same rule, with temperatures and weights of 1'),
    ensemble: onValidation,
    crossFitted: onValidation.describe('each half with what was chosen on the other half'),
    bystanders: onBystanders.exactOptional(),
    proof: z
      .object({
        examples: count.describe('validation images that were held out'),
        gained: count.describe('of these, right only with the specialists'),
        lost: count.describe('right only without them'),
        chance: share.describe('that an ensemble no better than the generalist does as well'),
        risk: share,
        isShown: z.boolean().describe('whether specialists are used'),
      })
      .exactOptional()
      .describe('with --risk'),
    rules: z
      .array(
        z.object({
          rule: z.string(),
          kept: count,
          crossFitted: onValidation.describe('each half with what was chosen on the other half'),
          bystanders: onBystanders.exactOptional(),
        }),
      )
      .exactOptional()
      .describe("the rules that were fitted, the one in use first; the paper's is always among them"),
    routing: z
      .array(
        z.object({
          rule: z.enum(['top', 'mass']),
          value: z.number().positive(),
          active: z.number().nonnegative().describe('specialists queried, mean over images'),
          flopsPerImage: z.number().nonnegative(),
          top1: share,
        }),
      )
      .describe('accuracy on validation against cost, under rules of routing'),
  }),
  rivals: rivalsSchema,
  answers,
  student: z.object({
    objective: z.enum(objectiveKinds),
    teacher: answers.exactOptional(),
    transferImages: count.describe('that the student saw'),
    parameters: count,
    flopsPerImage: z.number().nonnegative().describe('of a forward pass'),
    trainingSeconds: seconds.describe('of all students that were trained'),
    sweep: z.array(
      z.object({
        temperature: z.number().positive(),
        hardWeight: z.number().nonnegative(),
        loss: z.number(),
        steps: count,
        trainingSeconds: seconds,
        epoch: count.describe('whose weights were kept'),
        validation: accuracy,
        curve: z.array(
          z.object({
            epoch: count,
            validation: share,
            train: share.exactOptional(),
            test: share.exactOptional(),
          }),
        ),
      }),
    ),
    chosen: z
      .object({ temperature: z.number().positive(), hardWeight: z.number().nonnegative(), epoch: count })
      .describe('on validation'),
    validation: accuracy,
    test: accuracy.describe('of the chosen one'),
    bias: z
      .object({
        classes: z.array(count),
        offset: z.number(),
        fittedOn: z.literal('validation'),
        validation: z.object({ before: accuracy, after: accuracy }),
        test: z.object({ before: accuracy }),
        testTuned: z.object({ offset: z.number(), test: accuracy }).exactOptional(),
      })
      .exactOptional()
      .describe('correction of classes that the student never saw'),
  }),
} as const satisfies Record<Exclude<StageName, 'report'>, z.ZodType>;

/** What each stage returns, its command prints, and the manifest of its artefact keeps as metrics. */
export type StageResults = {
  readonly [Name in Exclude<keyof typeof stageMetrics, 'rivals'>]: z.infer<(typeof stageMetrics)[Name]>;
} & { readonly rivals: RivalsReport; readonly report: Report };

const schemas: { readonly [Name in StageName]: z.ZodType<StageResults[Name]> } = {
  ...stageMetrics,
  report: reportSchema,
};

/** The metrics of a manifest; undefined where they have another shape, such as an older version's. */
export function metricsOf<Name extends StageName>(
  stage: Name,
  metrics: JsonObject,
): StageResults[Name] | undefined {
  return schemas[stage].safeParse(metrics).data;
}

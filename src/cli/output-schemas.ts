import { z } from 'zod';
import { rankedClassSchema, reportSchema } from '../evaluation/report-schema.js';
import { stageMetrics } from '../pipeline/stage-metrics.js';
import { stageNames } from '../pipeline/stage-names.js';

const count = z.int().nonnegative();
const bytes = z.int().nonnegative();
const stage = z.enum(stageNames);

/** What became of a stage. */
const artefact = z.object({
  stage,
  status: z.enum(['made', 'up-to-date']),
  directory: z.string(),
  digest: z.string().describe('sha256 over the artefact’s files'),
  seconds: z.number().nonnegative().describe('time at work, over all sittings'),
  backend: z.string().nullable(),
  seed: count,
});

const { dataset, generalist, predictions, subsets, specialists, ensemble, rivals, answers, student } =
  stageMetrics;

const network = z.object({
  convolutions: z.array(count),
  kernel: count,
  dense: z.array(count),
  normalisation: z.enum(['batch', 'none']),
  outputs: count,
  parameters: count,
  flopsPerImage: z.number().nonnegative().describe('of a forward pass'),
});

const plan = z.object({
  workspace: z.string(),
  isNew: z.boolean().describe('whether the workspace would be made'),
  pipeline: z.string().describe('path of the pipeline file in use'),
  warnings: z.array(z.string()).describe('what works, but badly'),
  dataset: z
    .object({
      source: z.string(),
      kind: z.string().describe('the kind of source'),
      classes: count.nullable(),
      images: z.object({ train: count, validation: count, test: count }).nullable(),
      image: z
        .object({ height: count, width: count, channels: z.union([z.literal(1), z.literal(3)]) })
        .nullable(),
      isExact: z.boolean().describe('otherwise there are at most so many classes and images'),
      modelClasses: count
        .nullable()
        .describe(
          'of the model that is imported, or of the logits beside features, of which only so many have examples; null without either',
        ),
    })
    .nullable()
    .describe('null where no data set is needed'),
  generalist: network.nullable().describe('null where it is not needed, or not known yet'),
  specialists: z
    .object({
      count,
      classes: z.number().nonnegative().nullable().describe('of each, on average'),
      retrain: z.enum(['head', 'top', 'all']),
      engine: z.enum(['local', 'slurm', 'kubernetes']),
      processes: count
        .nullable()
        .describe('of this machine: 0 where a cluster trains, null as cores and memory allow'),
    })
    .nullable(),
  student: network.extend({ candidates: count.describe('that are trained to choose from') }).nullable(),
  rate: z
    .object({ flopsPerSecond: z.number().positive(), isMeasured: z.boolean() })
    .describe("at which a process trains: measured on this workspace's generalist, or assumed"),
  plan: z.array(
    z.object({
      stage,
      status: z.enum(['up-to-date', 'make', 'continue']),
      reasons: z.array(z.string()),
      trainingFlops: z.number().nonnegative().nullable().describe('of its training; null where it has none'),
      isMost: z.boolean().describe('whether training may end before it has taken so many'),
      seconds: z
        .number()
        .nonnegative()
        .nullable()
        .describe('of its training, at the rate above; null where it trains nothing, or a cluster does'),
    }),
  ),
});

const jobState = z.enum(['done', 'running', 'queued', 'failed', 'lost', 'stopped', 'missing']);

const jobs = z.object({
  slurmJobs: z
    .array(z.string())
    .describe('numbers of the job arrays, as `12`, or `12;cluster` where Slurm named one'),
  slurmSilence: z.string().nullable().describe('why Slurm could not be queried'),
  counts: z.partialRecord(jobState, count),
  jobs: z
    .array(
      z.object({
        id: count,
        state: jobState,
        note: z.string().describe('where it runs, how long it took, or why it is not done'),
      }),
    )
    .describe('one for each specialist'),
});

const run = z.object({
  workspace: z.string(),
  pipeline: z.string(),
  stages: z.object({
    dataset: artefact.extend({ metrics: dataset }),
    generalist: artefact.extend({ metrics: generalist }),
    predictions: artefact.extend({ metrics: predictions }).exactOptional(),
    subsets: artefact.extend({ metrics: subsets }),
    specialists: artefact.extend({ metrics: specialists }),
    ensemble: artefact.extend({ metrics: ensemble }),
    rivals: artefact.extend({ metrics: rivals }).exactOptional(),
    answers: artefact.extend({ metrics: answers }).exactOptional(),
    student: artefact.extend({ metrics: student }).exactOptional(),
    report: artefact.extend({ metrics: reportSchema }),
  }),
});

const ranked = z.array(rankedClassSchema).describe('descending');

const infer = z.object({
  images: z
    .array(
      z.union([
        z.object({
          path: z.string(),
          generalist: ranked,
          ensemble: ranked,
          specialists: z
            .array(
              z.object({
                id: count,
                dustbin: z.number().min(0).max(1).describe('probability of all classes it does not cover'),
                top: z.array(rankedClassSchema),
              }),
            )
            .exactOptional()
            .describe('those that were queried; left out of a file that was exported without --trace'),
        }),
        z.object({ path: z.string(), student: ranked }),
      ]),
    )
    .describe('predictions of generalist and ensemble, or with --model student of the student'),
  notes: z
    .array(z.object({ what: z.string(), count, example: z.string() }))
    .exactOptional()
    .describe('images that were taken in a way that a person may not expect'),
  errors: z
    .array(z.object({ path: z.string(), code: z.string(), message: z.string() }))
    .exactOptional()
    .describe('images without an answer'),
});

const exportedGraph = z.object({
  file: z.string().describe('or the folder'),
  format: z.enum(['onnx', 'hf', 'web']),
  files: z.array(z.string()).describe('the model and, where its weights are external, their file'),
  inputs: z.array(z.string()),
  outputs: z
    .array(z.string())
    .describe('the fused distribution, that of the generalist and, with --trace, those of the specialists'),
  classes: count,
  specialists: count.describe('that take part'),
  rule: z.string(),
  weights: z.enum(['fp32', 'fp16', 'int8']),
  bytes: bytes.describe('of all files'),
  images: count.describe('on which the model was compared with the ensemble'),
  maxDifference: z.number().nonnegative().describe('greatest difference of a probability there'),
  validation: z
    .object({
      images: count,
      ensemble: z.number().min(0).max(1),
      exported: z.number().min(0).max(1),
    })
    .nullable()
    .describe('top-1 of both on validation images, where weights were rounded'),
});

const exportedTensors = z.object({
  file: z.string(),
  format: z.literal('safetensors'),
  files: z.array(z.string()).describe('the same file'),
  classes: count,
  specialists: count.describe('that take part'),
  storedSpecialists: count
    .exactOptional()
    .describe('whose weights the file has, where some of them take no part'),
  rule: z.string(),
  weights: z.literal('fp32'),
  bytes,
});

const refitted = z.object({
  file: z.string(),
  refit: z.string().describe('the rival that the model is'),
  files: z.array(z.string()),
  inputs: z.array(z.string()),
  outputs: z.array(z.string()),
  classes: count,
  bytes: bytes.describe('of all files'),
  images: count.describe(
    'on which the written layer was compared with the measured one; of neighbours, rows that single precision cannot decide are left out',
  ),
  maxDifference: z
    .number()
    .nonnegative()
    .describe(
      'greatest difference of a probability there; on rows that were left out, of what stays whichever neighbours vote',
    ),
  top1: z.number().min(0).max(1).describe('on test images, as kd-spec rivals measured it'),
  gain: z.number().min(-1).max(1).describe('over the generalist'),
  standardError: z.number().nonnegative(),
  harm: z
    .object({ harm: z.number().min(-1).max(1), standardError: z.number().nonnegative() })
    .nullable()
    .describe('accuracy that bystanders lose; null where there are none'),
});

const exported = z.union([
  exportedGraph,
  exportedTensors.describe('with --format safetensors, which holds no graph that could be compared'),
  refitted.describe('with --refit'),
]);

const patchShare = z.number().min(0).max(1);
const patchFigures = z.object({
  top1: patchShare.describe('of test images of the classes with images'),
  bystanders: patchShare
    .nullable()
    .describe('of bystanders, of which those without a label count where nothing changed; null without any'),
});

const patch = z.object({
  file: z.string(),
  files: z.array(z.string()).describe('the model and, over 2 GB, the file of its weights'),
  bytes: bytes.describe('of all files'),
  before: patchFigures,
  after: patchFigures,
  examples: z.object({ test: count, bystanders: count }),
  classes: count.describe('with images'),
  specialists: count.describe('that were added'),
  earlier: z
    .array(z.object({ specialists: count, classes: count, before: patchFigures, after: patchFigures }))
    .describe('what patches that the model already had did when they were made'),
  harmBound: patchShare.nullable().describe('on what bystanders may lose'),
  calibratedFor: patchShare
    .nullable()
    .describe(
      'the bound that calibration kept: stricter where bystanders for the test lost more than allowed',
    ),
  compared: z
    .object({ images: count, maxDifference: z.number().nonnegative() })
    .describe(
      "on how many test images the file was run, and the greatest difference of a probability from the networks', whose figures these are",
    ),
  rivals: z
    .array(
      z.object({
        name: z.string(),
        top1: patchShare,
        bystanders: patchShare.nullable(),
        keepsBound: z
          .boolean()
          .nullable()
          .describe('whether it may count as better than the specialists; null where nothing measures harm'),
      }),
    )
    .describe('what else the same images could have been used for; empty with --with-rivals=false'),
  report: z.string().describe('path of the report page'),
});

const doctor = z.object({
  kdSpec: z.string(),
  node: z.string(),
  machine: z.object({
    platform: z.string(),
    processor: z.string(),
    cores: count,
    memoryBytes: bytes,
    freeMemoryBytes: bytes,
  }),
  backend: z.string().nullable().describe('the one that auto takes'),
  backends: z.array(
    z.object({ name: z.string(), available: z.boolean(), reason: z.string(), install: z.string() }),
  ),
  onnxRuntime: z
    .object({ isNative: z.boolean(), install: z.string() })
    .describe('what runs imported models, and what to type for the native one'),
  measurements: z
    .array(
      z.object({
        trial: z.string(),
        rates: z.array(
          z.object({ backend: z.string(), device: z.string().nullable(), examplesPerSecond: z.number() }),
        ),
        measuredAt: z.string(),
      }),
    )
    .describe('what auto chooses by, the newest first; it measures where several backends load'),
});

const status = z.object({
  workspace: z.string(),
  stages: z
    .array(
      z.object({
        stage,
        command: z.string(),
        status: z.enum(['done', 'outdated', 'interrupted', 'missing']),
        note: z.string().describe('what it holds, or why it is not up to date'),
      }),
    )
    .describe('empty where there is no workspace yet'),
  next: z.array(z.string()).describe('what to do'),
  problem: z.string().exactOptional().describe('why the settings in force cannot work'),
});

const init = z.object({
  file: z.string(),
  warnings: z.array(z.string()),
  source: z.string(),
  kind: z.string(),
  model: z
    .object({
      path: z.string(),
      classes: count,
      features: count,
      image: z.object({ height: count, width: count, channels: count }),
      notes: z.array(z.string()).describe('what was read from somewhere, or assumed'),
      unknown: z.array(z.string()).describe('classes of the images that the model does not know'),
      advice: z.string().describe('what to do about these classes; empty where there are none'),
      hints: z
        .record(z.string(), z.union([z.string(), z.number()]))
        .describe('what was said about the model'),
    })
    .nullable()
    .describe('the classifier that is to be improved'),
  classes: count,
  images: z.object({ train: count, validation: count, test: count }),
  looked: count.describe('images whose pixels were read'),
  unreadable: z
    .object({ count, example: z.string().nullable() })
    .describe('images among those to be looked at that cannot be read'),
  perClass: z
    .object({ least: count, median: count, most: count })
    .describe('training images among those looked at'),
  rarest: z.string().describe('a class with the fewest'),
  features: z
    .object({ numbers: count, logits: count })
    .nullable()
    .describe('what a row holds where examples are features made elsewhere; null for images'),
  isGrey: z.boolean().nullable().describe('null for features'),
  side: z.number().nullable().describe('median of the shorter side, in pixels, where it can be seen'),
  acrossParts: count.describe('images that stand in two parts'),
  acrossClasses: count.describe('images that stand in two classes'),
});

const fused = z.object({
  results: z
    .array(z.object({ probabilities: z.array(z.number()), objective: z.number(), iterations: count }))
    .describe('one for each line'),
});

const confused = z.object({ generalist: count, ensemble: count });
const difference = z.number().min(-1).max(1);
const share = z.number().min(0).max(1);

const show = z.union([
  z
    .object({
      confused: z.array(confused.extend({ classes: z.array(z.string()) })),
      pairs: count,
      specialists: z.array(z.object({ id: count, classes: count, kept: z.boolean() })),
    })
    .describe('without a word'),
  z
    .object({
      stage,
      metrics: z.record(z.string(), z.unknown()),
      parameters: z.record(z.string(), z.unknown()),
      seed: count,
      backend: z.string().nullable(),
      digest: z.string(),
      finishedAt: z.string(),
    })
    .describe('of a stage'),
  z
    .object({
      id: count,
      kept: z.boolean(),
      reason: z.string(),
      classes: z.array(z.string()),
      dustbinCorrection: z.number(),
      temperature: z.number(),
      weight: z.number(),
      covered: z
        .object({
          examples: count,
          generalist: share,
          specialist: share,
          ensemble: share,
          gain: difference,
          standardError: z.number(),
        })
        .exactOptional(),
      routed: z.object({ examples: count, gain: difference, standardError: z.number() }).exactOptional(),
    })
    .describe('of a specialist; figures on test where it was kept'),
  z
    .object({
      class: z.string(),
      index: count,
      images: count,
      generalist: count.describe('correct'),
      ensemble: count,
      specialists: z.array(z.object({ id: count, kept: z.boolean() })),
      takenFor: z.array(confused.extend({ class: z.string() })),
      takenAs: z.array(confused.extend({ class: z.string() })),
      neighbours: z.array(z.object({ class: z.string(), probability: share })),
    })
    .describe('of a class'),
  z
    .object({
      path: z.string(),
      generalist: ranked,
      ensemble: ranked,
      specialists: z.array(
        z.object({
          id: count,
          size: count,
          dustbin: share,
          correction: z.number().describe('of the dustbin, in nats'),
          mass: z.object({ generalist: z.number(), ensemble: z.number() }).describe('on its classes'),
          top: ranked,
        }),
      ),
    })
    .describe('of an image'),
]);

/**
 * What `--json` prints, by command; `plan` is what every command that makes artefacts prints with `--dry-run`, and
 * `jobs` what `jobs show` and `jobs follow` print, and `train-specialists` when it does not wait for its jobs.
 */
export const outputSchemas = {
  run,
  dataset: dataset.extend({ artefact }),
  'train-generalist': generalist.extend({ artefact }),
  import: generalist.shape.imported.unwrap().extend({ artefact }),
  predict: predictions.extend({ artefact }),
  cluster: subsets.extend({ artefact }),
  'train-specialists': z.union([specialists.extend({ artefact }), jobs]),
  calibrate: ensemble.extend({ artefact }),
  rivals: rivals.extend({ artefact }),
  answer: answers.extend({ artefact }),
  distill: student.extend({ artefact }),
  evaluate: reportSchema.extend({ artefact }),
  infer,
  export: exported,
  patch,
  doctor,
  fuse: fused,
  init,
  jobs,
  plan,
  show,
  status,
} as const satisfies Readonly<Record<string, z.ZodType>>;

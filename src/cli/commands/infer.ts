import { resolve } from 'node:path';
import type { CommandModule } from 'yargs';
import { assert, KdSpecError } from '../../core/errors.js';
import type { JsonObject } from '../../core/json.js';
import type { Log } from '../../core/log.js';
import { percent } from '../../core/percent.js';
import type { ImageShape } from '../../data/source.js';
import type { Classification, Ensemble } from '../../ensemble/ensemble.js';
import type { Classifier } from '../../models/classifier.js';
import type { RankedClass } from '../../models/ranked-class.js';
import { runtimes } from '../../pipeline/options/report-options.js';
import type { Settings } from '../../pipeline/options.js';
import { addFlags, restoreLoneDash } from '../command-line.js';
import { type CommandContext, printResult } from '../context.js';
import { type Failure, failureOf, inGroups, type Query, queriesOf } from '../queries.js';
import { alignColumns } from '../summary.js';

/** The command that classifies images. */
export function inferCommand(context: CommandContext): CommandModule {
  return {
    command: 'infer [images..]',
    describe: 'Classify images with generalist and ensemble, with an exported file, or with the student',
    builder: (yargs) =>
      addFlags(
        yargs
          .positional('images', {
            type: 'string',
            array: true,
            describe: 'Classify these images, as with --image',
          })
          .option('image', {
            type: 'string',
            array: true,
            requiresArg: true,
            describe:
              'Classify image files, folders of images, or - for an image on standard input; files of rows (.npy, .npz, .parquet, .arrow, .feather) where the data set holds features',
          })
          .option('model', {
            type: 'string',
            requiresArg: true,
            defaultDescription: 'ensemble',
            describe:
              'Choose the model: ensemble, student, or an .onnx file that was exported, or the folder of --format hf',
          })
          .option('runtime', {
            type: 'string',
            requiresArg: true,
            choices: runtimes,
            defaultDescription: 'auto',
            describe:
              'Run an ensemble on networks (tensorflow, wasm) or, as it would be exported, in ONNX Runtime (onnx); a file runs there in any case, with wasm in the one that is always installed',
          })
          .option('top', {
            type: 'string',
            requiresArg: true,
            defaultDescription: '5',
            describe: 'Print this many classes per image',
          }),
        [],
      ),
    handler: async (argv) => {
      const afterTwoDashes = texts(argv._).slice(1); // the first is the command
      const images = [...texts(argv.images), ...texts(argv.image), ...afterTwoDashes].map(restoreLoneDash);
      if (images.length === 0) {
        throw new KdSpecError('usage', 'expected images: give files or folders, or - for standard input');
      }
      const top = Number(argv.top ?? 5);
      if (!Number.isSafeInteger(top) || top < 1) {
        throw new KdSpecError('option-invalid', `--top: expected an integer of 1 or more, got "${argv.top}"`);
      }
      const { createTerminalLog, usesColor } = await import('../terminal-log.js');
      const { commandSettings } = await import('../command-settings.js');
      const settings = await commandSettings(argv, context);
      const color = usesColor(context.stderr, context.env);
      using log = createTerminalLog(context.stderr, { quiet: settings.quiet, color });
      const answer = await inferImages(images, {
        model: await modelOf(argv.model, context.folder),
        runtime: runtimes.find((name) => name === (argv.runtime ?? context.env.KD_SPEC_RUNTIME)) ?? 'auto',
        top,
        settings,
        log,
        signal: context.signal,
      });
      const hasAnswers = answer.text !== '';
      if (hasAnswers || settings.json) printResult(context, answer, settings.json);
      if (answer.error) throw answer.error;
    },
  };
}

/** `ensemble`, `student`, or the path of a file. */
async function modelOf(value: unknown, folder: string): Promise<string> {
  const model = typeof value === 'string' ? value : 'ensemble';
  if (model === 'ensemble' || model === 'student') return model;
  const { modelFileOf } = await import('../../models/onnx/model-path.js');
  const path = modelFileOf(resolve(folder, model));
  if (path.toLowerCase().endsWith('.onnx')) return path;
  throw new KdSpecError(
    'option-invalid',
    `--model: expected ensemble, student, an .onnx file that was exported or a folder with model.onnx, got "${model}"`,
  );
}

function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

type Runtime = (typeof runtimes)[number];

const imagesAtOnce = 256;
const heldBytes = 2 ** 28; // of files whose pixels wait to be decoded
const shownClasses = 3; // that the text names of each specialist

/** The predictions for some images. */
interface InferredImages {
  readonly json: JsonObject;
  /** The same for a person. */
  readonly text: string;
  /** What the command is to end with, when there are images without a prediction. */
  readonly error?: KdSpecError;
}

/**
 * Predicts for images with the generalist and the ensemble of a workspace, or with its student.
 *
 * An image that cannot be read takes nothing from the others: it is named, and they are classified.
 *
 * @param images files, folders, or `-` for standard input
 * @param options.model `ensemble`, `student`, or the path of a file that was exported
 * @param options.runtime what runs it
 * @param options.top classes in a prediction
 * @param options.stdin where `-` reads
 * @returns also where the workspace has no ensemble, or no student: then every image is an error
 * @throws KdSpecError `interrupted`
 */
async function inferImages(
  images: readonly string[],
  {
    model,
    runtime,
    top,
    settings,
    log,
    signal,
    stdin = process.stdin,
  }: {
    readonly model: string;
    readonly runtime: Runtime;
    readonly top: number;
    readonly settings: Settings;
    readonly log: Log;
    readonly signal: AbortSignal;
    readonly stdin?: AsyncIterable<Uint8Array>;
  },
): Promise<InferredImages> {
  const predictor = await predictorOf(model, settings, { runtime, top }).catch((error: unknown) => {
    if (error instanceof KdSpecError) return error;
    throw error;
  });
  if (predictor instanceof KdSpecError) return withoutModel(images, predictor);
  const predictions: { path: string; prediction: Prediction }[] = [];
  const failures: Failure[] = [];
  const notes = new Map<string, { count: number; readonly example: string }>();
  try {
    const { image } = predictor;
    const queries = queriesOf(images, image, stdin);
    for await (const named of inGroups(queries, imagesAtOnce)) {
      if (signal.aborted) throw new KdSpecError('interrupted', `stopped after ${predictions.length} images`);
      const group = image.isFeatures ? named : await withBytes(named);
      for (const outcome of await predictGroup(group, predictor.predict)) {
        if ('prediction' in outcome) predictions.push(outcome);
        else failures.push(outcome);
      }
      if (!image.isFeatures) await noteImages(group, notes);
    }
  } finally {
    predictor.dispose();
  }
  const error = summarise(failures, predictions.length, log);
  for (const [what, { count, example }] of notes)
    log.warn(`${count.toLocaleString('en')} ${what}, such as ${example}`);
  return {
    json: {
      images: predictions.map(({ path, prediction }) => ({ path, ...prediction.json })),
      ...(notes.size > 0 && { notes: Array.from(notes, ([what, found]) => ({ what, ...found })) }),
      ...(failures.length > 0 && {
        errors: failures.map(({ path, error: { code, message } }) => ({ path, code, message })),
      }),
    },
    text: predictions.map(({ path, prediction }) => `${path}\n${prediction.text}`).join('\n\n'),
    ...(error && { error }),
  };
}

/** Without a model every image that was named is an error, for a program that reads JSON; a person reads it once. */
function withoutModel(images: readonly string[], error: KdSpecError): InferredImages {
  const { code, message } = error;
  return { json: { images: [], errors: images.map((path) => ({ path, code, message })) }, text: '', error };
}

/** The prediction for one image, for a program and for a person. */
interface Prediction {
  readonly json: JsonObject;
  readonly text: string;
}

/** An ensemble or a student. */
interface Predictor {
  /** What it takes. */
  readonly image: ImageShape;
  /** One prediction an image, in order. */
  readonly predict: (images: readonly (string | Uint8Array)[]) => Promise<readonly Prediction[]>;
  readonly dispose: () => void;
}

/** A query with the bytes of its file, where they were read already. */
type ReadQuery = Query & { readonly bytes?: Uint8Array | undefined };

async function predictorOf(
  model: string,
  { workspace, backend }: Settings,
  { runtime, top }: { readonly runtime: Runtime; readonly top: number },
): Promise<Predictor> {
  if (model === 'student') {
    const { loadStudent, studentFolder } = await import('../../distillation/student.js');
    if (runtime === 'onnx') {
      throw new KdSpecError(
        'option-invalid',
        '--runtime onnx runs an ensemble: export the student (kd-spec export --model student --out FILE) and name the file',
      );
    }
    const student = await loadStudent(studentFolder(workspace), {
      backend: runtime === 'auto' ? backend : runtime,
    });
    return {
      image: imageOf(student),
      async predict(images) {
        const all = await student.classify(images, { top });
        return all.map((ranked) => ({
          json: { student: ranked.map((item) => ({ ...item })) },
          text: alignColumns([
            ['', 'student'],
            ...ranked.map((item, rank) => [String(rank + 1), named(item)]),
          ]),
        }));
      },
      dispose: () => student.dispose(),
    };
  }
  const { loadEnsemble } = await import('../../ensemble/load-ensemble.js');
  const ensemble = await loadEnsemble(model === 'ensemble' ? workspace : model, { backend, runtime });
  return {
    image: imageOf(ensemble),
    async predict(images) {
      const all = await ensemble.classify(images, { top });
      return all.map((one) => ({ json: toJson(one, ensemble), text: describe(one, ensemble) }));
    },
    dispose: () => ensemble.dispose(),
  };
}

function imageOf({ input }: Classifier): ImageShape {
  assert(input.kind === 'images', 'what a workspace trained takes images, or rows of features');
  return input.image;
}

/** Predicts for a group of images at once, and, if one of them cannot be read, for each by itself; in their order. */
async function predictGroup(
  group: readonly (ReadQuery | Failure)[],
  predict: Predictor['predict'],
): Promise<readonly ({ readonly path: string; readonly prediction: Prediction } | Failure)[]> {
  const queries = group.filter((one) => 'image' in one);
  try {
    const predictions = await predict(queries.map(({ image, bytes }) => bytes ?? image));
    let next = 0;
    return group.map((one) => ('image' in one ? { path: one.path, prediction: predictions[next++] } : one));
  } catch (error) {
    if (!(error instanceof KdSpecError)) throw error;
    if (group.length === 1) {
      const [query] = queries;
      // The error for a path names the file; that for bytes does not.
      if (query?.bytes !== undefined) return predictGroup([{ ...query, bytes: undefined }], predict);
      return queries.map(({ path }) => failureOf(path, error));
    }
    const outcomes = [];
    for (const one of group) outcomes.push(...(await predictGroup([one], predict)));
    return outcomes;
  }
}

/**
 * Reads the files of a group, so that each is read once, for its pixels and for how many images it holds. What cannot be
 * read, and what is more than fits into memory, is left to whoever needs it.
 */
async function withBytes(group: readonly (Query | Failure)[]): Promise<readonly (ReadQuery | Failure)[]> {
  const { readImageBytes } = await import('../../data/image-codec.js');
  let total = 0;
  const read: (ReadQuery | Failure)[] = [];
  for (const one of group) {
    const isFile = 'image' in one && typeof one.image === 'string' && total < heldBytes;
    const bytes = isFile ? await readImageBytes(one.path).catch(() => undefined) : undefined;
    total += bytes?.length ?? 0;
    read.push({ ...one, bytes });
  }
  return read;
}

/** Counts the images of a group that are taken in a way that a person may not expect; those that cannot be read are none. */
async function noteImages(
  group: readonly (ReadQuery | Failure)[],
  notes: Map<string, { count: number; readonly example: string }>,
): Promise<void> {
  const { imageNotes, readImageBytes } = await import('../../data/image-codec.js');
  for (const one of group) {
    if (!('image' in one)) continue;
    const { path, image } = one;
    const bytes =
      one.bytes ?? (typeof image === 'string' ? await readImageBytes(image).catch(() => undefined) : image);
    for (const what of bytes ? await imageNotes(bytes) : []) {
      const known = notes.get(what);
      if (known) known.count++;
      else notes.set(what, { count: 1, example: path });
    }
  }
}

/** Reports every image without a prediction: in the error itself where there is one, in warnings where there are more. */
function summarise(failures: readonly Failure[], classified: number, log: Log): KdSpecError | undefined {
  if (failures.length <= 1) return failures[0]?.error;
  for (const { error } of failures) log.warn(`${error.message} (${error.code})`);
  return new KdSpecError(
    failures[0].error.code,
    `${failures.length} of ${failures.length + classified} images could not be classified: see the warnings above`,
  );
}

/** The specialists of an ensemble: those that traces name, how many take part, and what changes a prediction without them. */
type Specialists = Pick<Ensemble, 'specialists' | 'specialistCount' | 'generalistTemperature' | 'labelNoise'>;

/** Whether some specialists take part that no trace names. */
const hasUnnamed = ({ specialists, specialistCount }: Specialists) => specialists.length < specialistCount;

function toJson({ generalist, ensemble, specialists }: Classification, model: Specialists): JsonObject {
  const ranked = (classes: readonly RankedClass[]) => classes.map((item) => ({ ...item }));
  return {
    generalist: ranked(generalist),
    ensemble: ranked(ensemble),
    ...(!hasUnnamed(model) && {
      specialists: specialists.map(({ id, dustbin, top }) => ({ id, dustbin, top: ranked(top) })),
    }),
  };
}

const named = (item: RankedClass | undefined) => (item ? `${item.class}  ${percent(item.probability)}` : '');

function describe({ generalist, ensemble, specialists }: Classification, model: Specialists): string {
  const rows = ensemble.map((_, rank) => [String(rank + 1), named(generalist[rank]), named(ensemble[rank])]);
  const isOneNetwork = model.specialistCount === 0 && rows.every(([, before, after]) => before === after);
  if (isOneNetwork) {
    const table = alignColumns([['', 'prediction'], ...rows.map(([rank, , after]) => [rank, after])]);
    return `${table}\nthe model has no specialists`;
  }
  const queried = specialists.map(({ id, dustbin, top }) => {
    const classes = top.slice(0, shownClasses).map(named).join(', ');
    return `specialist ${id}: ${classes}; none of its classes ${percent(dustbin)}`;
  });
  const unnamed = hasUnnamed(model)
    ? [
        `the file does not say which ${model.specialists.length > 0 ? 'of its other ' : ''}specialists were queried: ` +
          'export it with --trace to see them',
      ]
    : [];
  const none = unnamed.length === 0 && queried.length === 0 ? [noneQueried(model)] : [];
  return [alignColumns([['', 'generalist', 'ensemble'], ...rows]), ...queried, ...unnamed, ...none].join(
    '\n',
  );
}

/** That no specialist was queried, and why the ensemble's probabilities may be others than the generalist's all the same. */
function noneQueried({ generalistTemperature = 1, labelNoise = 0 }: Specialists): string {
  const temperature = generalistTemperature.toFixed(2);
  const surer = generalistTemperature < 1 ? 'surer' : 'less sure';
  const reasons = [
    ...(temperature === '1.00'
      ? []
      : [`the ensemble's temperature of ${temperature} makes the generalist ${surer}`]),
    ...(labelNoise > 0
      ? [
          `${percent(labelNoise, 2)} of the probability is spread over all classes, since as many labels are taken to be noise`,
        ]
      : []),
  ];
  return ['no specialist was queried', ...(reasons.length > 0 ? [reasons.join(', and ')] : [])].join('; ');
}

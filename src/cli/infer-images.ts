import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { KdSpecError } from '../core/errors.js';
import type { JsonObject } from '../core/json.js';
import type { Log } from '../core/log.js';
import { percent } from '../core/percent.js';
import { listImages } from '../data/image-files.js';
import { loadStudent } from '../distillation/student.js';
import { type Classification, loadEnsemble } from '../ensemble/ensemble.js';
import type { RankedClass } from '../models/ranked-class.js';
import type { Settings } from '../pipeline/options.js';
import { alignColumns } from './summary.js';

const maxInputBytes = 256 * 2 ** 20; // of standard input
const imagesAtOnce = 256;
const spokenClasses = 3; // that the text names of each specialist

/** An image to ask about: where it is from, and what to read. */
interface Asked {
  readonly path: string;
  readonly image: string | Uint8Array;
}

/** An image that could not be answered for. */
interface Failure {
  readonly path: string;
  readonly error: KdSpecError;
}

/** What can be said about some images. */
export interface InferredImages {
  readonly json: JsonObject;
  /** The same for a person. */
  readonly text: string;
  /** What the command is to end with, when there are images without an answer. */
  readonly error?: KdSpecError;
}

/**
 * Answers for images with the generalist and the ensemble of a workspace, or with its student.
 *
 * An image that cannot be read takes nothing from the others: it is named, and they are answered.
 *
 * @param images files, folders, or `-` for standard input
 * @param options.model who answers
 * @param options.top classes an answer names
 * @param options.stdin where `-` reads
 * @returns also where the workspace has no ensemble, or no student: then every image is an error
 * @throws KdSpecError `interrupted`
 */
export async function inferImages(
  images: readonly string[],
  {
    model,
    top,
    settings,
    log,
    signal,
    stdin = process.stdin,
  }: {
    readonly model: 'ensemble' | 'student';
    readonly top: number;
    readonly settings: Settings;
    readonly log: Log;
    readonly signal: AbortSignal;
    readonly stdin?: AsyncIterable<Uint8Array>;
  },
): Promise<InferredImages> {
  const respondent = await respondentOf(model, settings, top).catch((error: unknown) => {
    if (error instanceof KdSpecError) return error;
    throw error;
  });
  if (respondent instanceof KdSpecError) return withoutModel(images, respondent);
  const answers: { path: string; answer: Said }[] = [];
  const failures: Failure[] = [];
  try {
    for await (const group of groupsOf(expand(images, stdin), imagesAtOnce)) {
      if (signal.aborted) throw new KdSpecError('interrupted', `stopped after ${answers.length} images`);
      for (const outcome of await askAbout(group, respondent.ask)) {
        if ('answer' in outcome) answers.push(outcome);
        else failures.push(outcome);
      }
    }
  } finally {
    respondent.dispose();
  }
  const error = summarise(failures, answers.length, log);
  return {
    json: {
      images: answers.map(({ path, answer }) => ({ path, ...answer.json })),
      ...(failures.length > 0 && {
        errors: failures.map(({ path, error: { code, message } }) => ({ path, code, message })),
      }),
    },
    text: answers.map(({ path, answer }) => `${path}\n${answer.text}`).join('\n\n'),
    ...(error && { error }),
  };
}

/** Without a model every image that was named is an error, for a program that reads JSON; a person reads it once. */
function withoutModel(images: readonly string[], error: KdSpecError): InferredImages {
  const { code, message } = error;
  return { json: { images: [], errors: images.map((path) => ({ path, code, message })) }, text: '', error };
}

/** What is said about one image. */
interface Said {
  readonly json: JsonObject;
  readonly text: string;
}

/** Whoever answers, by the same two words. */
interface Respondent {
  /** One answer an image, in order. */
  readonly ask: (images: readonly (string | Uint8Array)[]) => Promise<readonly Said[]>;
  readonly dispose: () => void;
}

async function respondentOf(
  model: 'ensemble' | 'student',
  { workspace, backend }: Settings,
  top: number,
): Promise<Respondent> {
  if (model === 'student') {
    const student = await loadStudent(join(workspace, 'student'), { backend });
    return {
      async ask(images) {
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
  const ensemble = await loadEnsemble(workspace, { backend });
  return {
    async ask(images) {
      const all = await ensemble.classify(images, { top });
      return all.map((answer) => ({ json: toJson(answer), text: describe(answer) }));
    },
    dispose: () => ensemble.dispose(),
  };
}

/** Asks about the images of a group at once, and, if one of them cannot be read, about each by itself; in their order. */
async function askAbout(
  group: readonly (Asked | Failure)[],
  ask: Respondent['ask'],
): Promise<readonly ({ readonly path: string; readonly answer: Said } | Failure)[]> {
  const asked = group.filter((one) => 'image' in one);
  try {
    const said = await ask(asked.map(({ image }) => image));
    let next = 0;
    return group.map((one) => ('image' in one ? { path: one.path, answer: said[next++] } : one));
  } catch (error) {
    if (!(error instanceof KdSpecError)) throw error;
    if (group.length === 1) return asked.map(({ path }) => failureOf(path, error));
    const outcomes = [];
    for (const one of group) outcomes.push(...(await askAbout([one], ask)));
    return outcomes;
  }
}

function failureOf(path: string, error: KdSpecError): Failure {
  const { code, message, cause } = error; // bytes have no path: where they came from is said here
  return {
    path,
    error: path === '-' ? new KdSpecError(code, `standard input: ${message}`, { cause }) : error,
  };
}

/** Tells of every image without an answer: in the error itself where there is one, in warnings where there are more. */
function summarise(failures: readonly Failure[], answered: number, log: Log): KdSpecError | undefined {
  if (failures.length <= 1) return failures[0]?.error;
  for (const { error } of failures) log.warn(`${error.message} (${error.code})`);
  return new KdSpecError(
    failures[0].error.code,
    `${failures.length} of ${failures.length + answered} images could not be classified: see the warnings above`,
  );
}

/** The images that words on the command line mean: those in a folder, by name; a file is itself. */
async function* expand(
  words: readonly string[],
  stdin: AsyncIterable<Uint8Array>,
): AsyncGenerator<Asked | Failure> {
  for (const path of words) {
    try {
      if (path === '-') yield { path, image: await readAll(stdin) };
      else if (!(await stat(path).catch(() => undefined))?.isDirectory()) yield { path, image: path };
      else for (const image of await listImages(path)) yield { path: image, image };
    } catch (error) {
      if (!(error instanceof KdSpecError)) throw error;
      yield failureOf(path, error);
    }
  }
}

/** Items in groups of a size; the last may be smaller. */
async function* groupsOf<T>(items: AsyncIterable<T>, size: number): AsyncGenerator<readonly T[]> {
  let group: T[] = [];
  for await (const item of items) {
    group.push(item);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}

/** All of a stream, unless there is no end of it. */
async function readAll(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > maxInputBytes) {
      throw new KdSpecError(
        'image-too-large',
        `expected an image of at most ${maxInputBytes} bytes on standard input, got more: make it smaller`,
      );
    }
  }
  return Buffer.concat(chunks);
}

function toJson({ generalist, ensemble, specialists }: Classification): JsonObject {
  const ranked = (classes: readonly RankedClass[]) => classes.map((item) => ({ ...item }));
  return {
    generalist: ranked(generalist),
    ensemble: ranked(ensemble),
    specialists: specialists.map(({ id, dustbin, top }) => ({ id, dustbin, top: ranked(top) })),
  };
}

const named = (item: RankedClass | undefined) => (item ? `${item.class}  ${percent(item.probability)}` : '');

function describe({ generalist, ensemble, specialists }: Classification): string {
  const table = alignColumns([
    ['', 'generalist', 'ensemble'],
    ...ensemble.map((_, rank) => [String(rank + 1), named(generalist[rank]), named(ensemble[rank])]),
  ]);
  const said = specialists.map(({ id, dustbin, top }) => {
    const classes = top.slice(0, spokenClasses).map(named).join(', ');
    return `specialist ${id}: ${classes}; none of its classes ${percent(dustbin)}`;
  });
  return [table, ...(said.length > 0 ? said : ['no specialist was queried'])].join('\n');
}

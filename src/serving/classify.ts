import { availableParallelism } from 'node:os';
import { KdSpecError } from '../core/errors.js';
import { decodeImage } from '../data/image-codec.js';
import { isImageHead } from '../data/image-files.js';
import type { ImageShape } from '../data/source.js';
import { classificationOf } from '../ensemble/ensemble.js';
import type { ImageTrace } from '../ensemble/inference.js';
import { topK } from '../math/top-k.js';
import type { ClassNames } from '../models/classifier.js';
import { rankClasses } from '../models/ranked-class.js';
import { canTrace, namesSpecialists, type Prediction } from './batcher.js';
import type {
  ClassifiedMessage,
  ClassifyMessage,
  FailedImageMessage,
  MovedClassMessage,
} from './messages.js';
import type { ReceivedImage } from './request-images.js';
import type { ServedModel } from './served-model.js';

/** What of a prediction is wanted. */
export interface Wanted {
  /** Classes that are named. */
  readonly top: number;
  readonly show: ReadonlySet<Shown>;
  /** Whether how mass moved is told. */
  readonly trace: boolean;
}

const shown = ['generalist', 'ensemble', 'specialists'] as const;
type Shown = (typeof shown)[number];
const mostTop = 100;
const mostMoved = 12;

/**
 * What a query wants.
 *
 * @throws KdSpecError `request-invalid` for what the API or the model does not have
 */
export function readWanted(query: URLSearchParams, model: ServedModel): Wanted {
  expectParameters(query, ['top', 'show', 'trace']);
  const top = integerOf(query, 'top', { least: 1, most: mostTop, otherwise: 5 });
  const trace = booleanOf(query, 'trace');
  const can = canTrace(model.classifier);
  const able: readonly Shown[] = can ? shown : ['ensemble'];
  const names = query.get('show')?.split(',') ?? able;
  const unknown = names.find((name) => !shown.some((one) => one === name));
  if (unknown !== undefined)
    throw new KdSpecError('request-invalid', `show: expected some of ${shown.join(', ')}, got "${unknown}"`);
  const show = new Set(shown.filter((name) => names.includes(name)));
  const isBeyond = [...show].some((name) => !able.includes(name));
  if (isBeyond || (trace && !can)) {
    throw new KdSpecError(
      'request-invalid',
      `${model.classifier.name} shows its own prediction alone, not generalist, specialists or a trace: leave show and ` +
        'trace out',
    );
  }
  return { top, show, trace };
}

/** @throws KdSpecError `request-invalid` for parameters that the API does not have */
export function expectParameters(query: URLSearchParams, known: readonly string[]): void {
  const unknown = [...query.keys()].find((name) => !known.includes(name));
  if (unknown === undefined) return;
  const expected = known.length > 0 ? `one of ${known.join(', ')}` : 'none';
  throw new KdSpecError('request-invalid', `the query has the parameter "${unknown}": expected ${expected}`);
}

/** @throws KdSpecError `request-invalid` */
export function integerOf(
  query: URLSearchParams,
  name: string,
  {
    least = 0,
    most,
    otherwise,
  }: { readonly least?: number; readonly most: number; readonly otherwise?: number },
): number {
  const text = query.get(name);
  if (text === null && otherwise !== undefined) return otherwise;
  const value = /^\d{1,10}$/.test(text ?? '') ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new KdSpecError(
    'request-invalid',
    `${name}: expected an integer from ${least} to ${most}, got ${text === null ? 'none' : `"${text}"`}`,
  );
}

function booleanOf(query: URLSearchParams, name: string): boolean {
  const text = query.get(name) ?? 'false';
  if (text === 'true' || text === 'false') return text === 'true';
  throw new KdSpecError('request-invalid', `${name}: expected true or false, got "${text}"`);
}

/** Decodes images that come from outside: formats by their first bytes, bounded pixels and time, a few at once. */
export interface Decoder {
  /**
   * @returns (height, width, channels), 0 to 255
   * @throws KdSpecError `image-empty`, `image-unreadable`, `image-too-large`; the signal's reason
   */
  decode(image: ReceivedImage, shape: ImageShape, signal: AbortSignal): Promise<Uint8Array>;
}

/** Threads of libuv's pool that are left to the file system. */
const sparedThreads = 1;
const poolThreads = 4;

export function createDecoder(limits: { readonly pixels: number; readonly seconds: number }): Decoder {
  let free = Math.max(1, Math.min(availableParallelism(), poolThreads - sparedThreads));
  const waiting: (() => void)[] = [];
  return {
    async decode({ bytes, name, isBody }, shape, signal) {
      if (isBody && bytes.length === 0) {
        throw new KdSpecError(
          'image-empty',
          'expected an image, and the request has no body: send one, as curl does with -F image=@image.jpg, or with ' +
            "--data-binary @image.jpg -H 'content-type: image/jpeg'",
        );
      }
      // A drawing (SVG) is a program: neither its size nor its time can be told from its head.
      if (bytes.length > 0 && !isImageHead(bytes.subarray(0, 16))) {
        throw new KdSpecError(
          'image-unreadable',
          `expected a PNG, JPEG, WebP, GIF, TIFF, AVIF or BMP file as ${name}, found none of these: convert it`,
        );
      }
      if (free === 0) await new Promise<void>((resolve) => waiting.push(resolve));
      else free--;
      try {
        signal.throwIfAborted();
        return await decodeImage(bytes, shape, name, {
          maxPixels: limits.pixels,
          maxSeconds: limits.seconds,
        });
      } finally {
        const next = waiting.shift();
        if (next) next();
        else free++;
      }
    },
  };
}

/**
 * Classifies the images of a request. One that cannot be read takes nothing from the others.
 *
 * @param shape of the model's images
 * @throws the signal's reason; what the model throws
 */
export async function classifyImages(
  images: readonly ReceivedImage[],
  wanted: Wanted,
  {
    model,
    shape,
    decoder,
    signal,
  }: {
    readonly model: ServedModel;
    readonly shape: ImageShape;
    readonly decoder: Decoder;
    readonly signal: AbortSignal;
  },
): Promise<ClassifyMessage> {
  const isTraced = wanted.trace || wanted.show.has('generalist') || wanted.show.has('specialists');
  const outcomes = await Promise.all(
    images.map(async (image): Promise<ClassifiedMessage | FailedImageMessage> => {
      try {
        const pixels = await decoder.decode(image, shape, signal);
        return await model.batcher.predict(pixels, { isTraced, signal }, (prediction) =>
          describe(image.name, prediction, wanted, model),
        );
      } catch (error) {
        if (!(error instanceof KdSpecError) || !error.code.startsWith('image-')) throw error;
        return { path: image.name, code: error.code, message: error.message };
      }
    }),
  );
  const errors = outcomes.filter((outcome) => 'code' in outcome);
  return {
    images: outcomes.filter((outcome) => !('code' in outcome)),
    ...(errors.length > 0 && { errors }),
  };
}

/** A prediction as the API gives it. */
function describe(
  path: string,
  { probabilities, trace }: Prediction,
  { top, show, trace: isDetailed }: Wanted,
  { classifier }: ServedModel,
): ClassifiedMessage {
  const { classes } = classifier;
  if (trace === undefined || !canTrace(classifier))
    return { path, ensemble: rankClasses(probabilities, top, classes) };
  const { generalist, ensemble, specialists } = classificationOf(trace, classifier, top);
  return {
    path,
    ...(show.has('generalist') && { generalist }),
    ...(show.has('ensemble') && { ensemble }),
    ...(show.has('specialists') &&
      namesSpecialists(classifier) && {
        specialists: specialists.map((specialist, place) => {
          if (!isDetailed) return specialist;
          const { position, correction, mass } = trace.specialists[place];
          const { length } = classifier.specialists[position].config.classes;
          return { ...specialist, trace: { classes: length, correction, mass } };
        }),
      }),
    ...(isDetailed && { moved: movedClasses(trace, classes) }),
  };
}

/** The classes whose probability changed most, the largest change first; none that did not change. */
function movedClasses(
  { generalist, ensemble }: ImageTrace,
  classes: ClassNames,
): readonly MovedClassMessage[] {
  const changes = generalist.map((before, label) => Math.abs(ensemble[label] - before));
  const { indices, values } = topK(changes, mostMoved);
  return Array.from(indices)
    .filter((_, place) => values[place] > 0)
    .map((index) => ({
      index,
      class: classes[index],
      generalist: generalist[index],
      ensemble: ensemble[index],
    }));
}

import { z } from 'zod';
import type { ImageShape } from '../data/source.js';
import { createThumbnails, imageDataUri, type ThumbnailSheet } from '../data/thumbnails.js';
import { firstClass } from '../math/rank.js';
import { type ClassCounts, createClassConfusions } from './class-confusions.js';
import type { CurvePoint } from './curve-charts.js';
import { createGallery, type Gallery } from './gallery.js';
import { createReliability, type Reliability } from './reliability.js';
import { describeTrace, type ShownTrace } from './report-example.js';

/** What one specialist is, and what validation decided about it. */
export interface SpecialistCard {
  readonly id: number;
  /** Its subset, the most typical class first. */
  readonly classes: readonly number[];
  /** Added to the dustbin's logit, in nats, at every image. */
  readonly dustbinCorrection: number;
  /** Whether a further correction depends on the generalist's mass at each image. */
  readonly isCorrectedByImage: boolean;
  readonly temperature: number;
  readonly weight: number;
  readonly kept: boolean;
  /** What that was decided by, in words. */
  readonly reason: string;
}

/** What an artefact of the workspace was made with. */
export interface Provenance {
  readonly stage: string;
  readonly kdSpecVersion: string;
  readonly seed: number;
  readonly backend: string | null;
  /** Sha256 over its files. */
  readonly digest: string;
  readonly finishedAt: string;
  readonly parameters: Readonly<Record<string, unknown>>;
}

/**
 * What the page of a report shows beside the report itself: `details.json`. Classes are indices into `classes`; everything
 * was counted on the split of the report.
 */
export interface ReportDetails {
  /** Class names. */
  readonly classes: readonly string[];
  readonly counts: ClassCounts;
  /** [true class, predicted class, images of the generalist, images of the ensemble], the most frequent first. */
  readonly confusions: readonly (readonly [number, number, number, number])[];
  /** Images whose confusion is not listed, as there are too many. */
  readonly unlisted: { readonly generalist: number; readonly ensemble: number };
  readonly specialists: readonly SpecialistCard[];
  /** How it was decided which of them are kept, in a sentence. */
  readonly selection: string;
  /** One image of each class that has one. */
  readonly thumbnails: ThumbnailSheet;
  readonly gallery: Gallery;
  readonly reliability: { readonly generalist: Reliability; readonly ensemble: Reliability };
  /** The epochs of each specialist's training. */
  readonly specialistCurves: readonly { readonly id: number; readonly points: readonly CurvePoint[] }[];
  readonly provenance: readonly Provenance[];
}

const list = z.array(z.number());

/** What a command reads of `details.json`; the gallery and the curves go to the page alone. */
export const storedDetailsSchema = z.object({
  classes: z.array(z.string()),
  counts: z.object({ images: list, generalist: list, ensemble: list }),
  confusions: z.array(z.tuple([z.number(), z.number(), z.number(), z.number()])),
  specialists: z.array(
    z.object({
      id: z.number(),
      classes: list,
      dustbinCorrection: z.number(),
      isCorrectedByImage: z.boolean(),
      temperature: z.number(),
      weight: z.number(),
      kept: z.boolean(),
      reason: z.string(),
    }),
  ),
});

/** See {@link storedDetailsSchema}. */
export type StoredDetails = Pick<ReportDetails, 'classes' | 'counts' | 'confusions' | 'specialists'>;

/** Details that come from the images alone. */
export type ObservedDetails = Pick<
  ReportDetails,
  'counts' | 'confusions' | 'unlisted' | 'thumbnails' | 'gallery' | 'reliability'
>;

/** An image that was evaluated. */
export interface ObservedImage {
  readonly row: number;
  readonly label: number;
  readonly trace: ShownTrace;
  /** (height, width, channels), 0 to 255. */
  pixels(): Uint8Array;
}

export const detailsFileName = 'details.json';

const gallerySide = 160; // pixels
const reliabilityExamples = 20_000; // more only cost time
const leastReliabilityExamples = 500; // where there are so many classes that more would take minutes
const reliabilityValues = 5e8; // probabilities of an image, over all of these

/**
 * Collects what the page shows of single images and classes.
 *
 * @param names the class names
 * @param subsets of all specialists, by position
 * @param options.image the shape of the images
 * @param options.seed of the gallery
 * @param options.total how many images will be observed
 * Cost: of an image, a pass over the classes, and of every few, what `createReliability` says.
 */
export function createDetails(
  names: readonly string[],
  subsets: readonly { readonly id: number; readonly classes: readonly number[] }[],
  { image, seed, total }: { readonly image: ImageShape; readonly seed: number; readonly total: number },
) {
  const confusions = createClassConfusions(names.length);
  const thumbnails = createThumbnails(image, names.length);
  const gallery = createGallery(seed);
  const reliability = { generalist: createReliability(), ensemble: createReliability() };
  const affordable = Math.max(leastReliabilityExamples, Math.floor(reliabilityValues / names.length));
  const stride = Math.max(1, Math.ceil(total / Math.min(reliabilityExamples, affordable)));
  let observed = 0;
  return {
    async observe({ row, label, trace, pixels }: ObservedImage): Promise<void> {
      const first = {
        generalist: firstClass(trace.generalist),
        ensemble: firstClass(trace.ensemble),
      };
      confusions.add(label, first);
      if (observed++ % stride === 0) {
        reliability.generalist.add(label, trace.generalist);
        reliability.ensemble.add(label, trace.ensemble);
      }
      if (thumbnails.wants(label)) await thumbnails.add(label, pixels());
      const isCorrect = { generalist: first.generalist === label, ensemble: first.ensemble === label };
      await gallery.offer(isCorrect, async () => ({
        row,
        label: { index: label, class: names[label] },
        picture: await imageDataUri(pixels(), image, { most: gallerySide }),
        ...describeTrace(trace, names, subsets),
      }));
    },
    async result(): Promise<ObservedDetails> {
      const { counts, confusions: all, unlisted } = confusions.result();
      return {
        counts,
        confusions: all.map(({ label, predicted, generalist, ensemble }) => [
          label,
          predicted,
          generalist,
          ensemble,
        ]),
        unlisted,
        thumbnails: await thumbnails.result(),
        gallery: gallery.result(),
        reliability: {
          generalist: reliability.generalist.result(),
          ensemble: reliability.ensemble.result(),
        },
      };
    },
  };
}

import type { ImportReport } from './import-report.js';

/** Height and width of images in pixels, as options have them: one number for a square, or both, as in `48x320`. */
export type ImageSize = number | `${number}x${number}`;

export interface Sides {
  readonly height: number;
  readonly width: number;
}

/** The sides that a size of images names. */
export function sidesOf(size: ImageSize): Sides {
  const [height, width = height] = typeof size === 'number' ? [size] : size.split('x').map(Number);
  return { height, width };
}

/** The size with these sides: {@link sidesOf} the other way round. */
export function imageSizeOf({ height, width }: Sides): ImageSize {
  return height === width ? height : `${height}x${width}`;
}

/** Height, width and channels of every image of a data set, in pixels. */
export interface ImageShape {
  readonly height: number;
  readonly width: number;
  readonly channels: 1 | 3;
  /**
   * Set where an example is no image but a row of numbers that were computed elsewhere, such as an embedding: height and
   * channels are 1, the width is how many they are, and they may be any finite numbers.
   */
  readonly isFeatures?: true;
  /** Of such a row: how many of the last numbers are logits of a classifier, one a class, which is then the generalist. */
  readonly logits?: number;
}

/** One image with its class. `pixels` is (height, width, channels), 0 to 255; of features, the bytes of their float32. */
export interface LabelledImage {
  readonly pixels: Uint8Array;
  readonly label: number;
}

/** The parts of a data set, in the order in which they are written. */
export const splitNames = ['train', 'validation', 'test'] as const;
export type SplitName = (typeof splitNames)[number];

/**
 * What happens to a training image each time it is drawn, afresh in every epoch.
 *
 * `degrade` imitates a bad scan (see `degradation.ts`); `shift` moves the image by up to `pixels` each way.
 */
export type Augmentation =
  | { readonly kind: 'none' }
  | { readonly kind: 'shift'; readonly pixels: number }
  | { readonly kind: 'degrade'; readonly strength: number };

/** Top-1 accuracy of a classifier that knows how the data were generated, measured on test images. */
export interface Ceiling {
  readonly top1: number;
  readonly standardError: number;
  readonly examples: number;
}

/**
 * Where a data set comes from: an importer or a generator. `writeDataset` turns it into Arrow shards.
 *
 * Images are produced one at a time, in a seeded random order that mixes classes, so that neither the
 * source nor the writer ever holds a whole data set, and a reader's bounded buffer suffices to shuffle.
 */
export interface DatasetSource {
  /** One sentence for a person: what the images are. */
  readonly description: string;
  /** The name of each class; the position is the label. */
  readonly classes: readonly string[];
  /** What the labels call the first class, where they were numbers and the classes have names from elsewhere. */
  readonly numbersFrom?: 0 | 1 | undefined;
  /**
   * The labels, positions in `classes`, that rows for training have: only there with logits beside the features, whose
   * classes are those of a classifier made elsewhere, of which not all need have any. Labels that validation or test alone
   * have are not among them.
   */
  readonly occurring?: ReadonlySet<number>;
  readonly image: ImageShape;
  /** What training does to each image. */
  readonly augmentation: Augmentation;
  /** The number of images in a split; where `report` is there, images that cannot be read make it less. */
  count(split: SplitName): number;
  /** The images of a split, in an order that is random by seed. */
  images(split: SplitName): AsyncIterable<LabelledImage>;
  /**
   * What an import left out and why, once all images were iterated.
   *
   * @throws KdSpecError `image-unreadable`, `image-empty` naming every image that cannot be read, where these are not
   *   to be left out
   */
  report?(): ImportReport;
  /** The accuracy that nothing can exceed, where the source knows it. */
  ceiling?(signal?: AbortSignal): Promise<Ceiling>;
}

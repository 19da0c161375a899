import { createRandom } from '../core/random.js';
import type { ReportExample } from './report-example.js';

/** An image, as a data URI, with what everybody predicted for it. */
export type GalleryImage = Omit<ReportExample, 'differs' | 'isFixed' | 'image'> & {
  readonly picture: string;
};

/** Images about which generalist and ensemble differ in being right, drawn at random. */
export interface Gallery {
  /** Of the draw. */
  readonly seed: number;
  /** Where the generalist is wrong and the ensemble right. */
  readonly fixed: GalleryPart;
  /** The other way round. */
  readonly broken: GalleryPart;
}

export interface GalleryPart {
  /** Images of that kind. */
  readonly images: number;
  /** Those that were drawn, in the written order. */
  readonly shown: readonly GalleryImage[];
}

const shownOfEach = 12;

/**
 * Draws images for a {@link Gallery}, every one of a kind being as likely (Vitter's algorithm R): nobody chose the nice ones.
 *
 * @param seed of the draw
 */
export function createGallery(seed: number) {
  const parts = { fixed: createReservoir(seed, 'fixed'), broken: createReservoir(seed, 'broken') };
  return {
    /** Offers an image; `describe` is called only if it is drawn for now. */
    async offer(
      isCorrect: { readonly generalist: boolean; readonly ensemble: boolean },
      describe: () => Promise<GalleryImage>,
    ): Promise<void> {
      if (isCorrect.generalist === isCorrect.ensemble) return;
      await parts[isCorrect.ensemble ? 'fixed' : 'broken'].offer(describe);
    },
    result: (): Gallery => ({ seed, fixed: parts.fixed.result(), broken: parts.broken.result() }),
  };
}

function createReservoir(seed: number, kind: string) {
  const random = createRandom(seed, 'gallery', kind);
  const shown: GalleryImage[] = [];
  let images = 0;
  return {
    async offer(describe: () => Promise<GalleryImage>): Promise<void> {
      const place = images < shownOfEach ? images : random.below(images + 1);
      images++;
      if (place < shownOfEach) shown[place] = await describe();
    },
    result: (): GalleryPart => ({ images, shown: shown.toSorted((a, b) => a.row - b.row) }),
  };
}

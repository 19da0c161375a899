import { decodeImage, imageNotes, readImageBytes } from '../image-codec.js';
import type { ImportFindings } from '../import-report.js';
import type { ImageShape, LabelledImage } from '../source.js';

/** An image that waits to be decoded: the path of a file, or bytes with a name for messages. */
export interface EncodedImage {
  readonly image: string | { readonly bytes: Uint8Array; readonly name: string };
  readonly label: number;
}

/** Images that are decoded at once; enough to keep the thread pool busy. */
const decodesAhead = 16;

/**
 * Decodes a stream of images, in its order. One that cannot be read is left out, and `findings` knows of it.
 *
 * Cost: 16 images in memory.
 */
export async function* decodeImages(
  images: Iterable<EncodedImage> | AsyncIterable<EncodedImage>,
  shape: ImageShape,
  findings: ImportFindings,
): AsyncGenerator<LabelledImage> {
  const decode = async ({ image, label }: EncodedImage): Promise<LabelledImage | undefined> => {
    const name = typeof image === 'string' ? image : image.name;
    try {
      const bytes = typeof image === 'string' ? await readImageBytes(image) : image.bytes;
      const pixels = await decodeImage(bytes, shape, name);
      for (const note of await imageNotes(bytes)) findings.note(note, name);
      return { pixels, label };
    } catch (error) {
      findings.unreadable(name, error);
      return undefined;
    }
  };
  // Decoding begins when a group is at hand: a failure must not come up while the next image is awaited.
  let waiting: EncodedImage[] = [];
  const group = async () => {
    const decoded = await Promise.all(waiting.map(decode));
    waiting = [];
    return decoded.filter((image) => image !== undefined);
  };
  for await (const image of images) {
    waiting.push(image);
    if (waiting.length === decodesAhead) yield* await group();
  }
  yield* await group();
}

/** Floats of one array of (batch, classes): 64 MiB. */
const mostValues = 2 ** 24;

/** More images at once than this gain nothing. */
const mostImages = 1024;

/**
 * How many images to ask an ensemble about at once: each specialist is asked once a batch, about the few images that
 * are its own, and a call costs as much as many images. Bounded by the memory of the distributions.
 */
export function answerBatchSize(classes: number): number {
  return Math.max(1, Math.min(mostImages, Math.floor(mostValues / classes)));
}

import { percent, signedPercent, signedWithin } from '../../../src/core/percent.js';
import { count } from '../../../src/core/quantity-text.js';
import { meanOf, table } from '../format.js';

/** Test images that are read right, and how many of them each patch turned from right to wrong or back. */
export interface Counted {
  readonly images: number;
  readonly model: number;
  readonly once: number;
  readonly twice: number;
  readonly changedOnce: number;
  readonly changedTwice: number;
}

export interface SecondListRun {
  readonly seed: number;
  /** That the first patch added, and those of them that the second file has byte for byte. */
  readonly tensors: { readonly added: number; readonly same: number };
  readonly first: Counted;
  readonly second: Counted;
  readonly bystanders: Counted;
}

/** What `second-list.json` holds. */
export interface SecondListResult {
  readonly lists: readonly [first: number, second: number];
  readonly runs: readonly SecondListRun[];
}

/** A difference of two shares of the same images, with its standard error. */
function change(from: number, to: number, changed: number, images: number): string {
  const difference = (to - from) / images;
  return signedWithin(difference, Math.sqrt((changed / images - difference ** 2) / images));
}

export function renderSecondList({ lists: [first, second], runs }: SecondListResult): string {
  const parts = [
    [`the first list's ${count(first)} characters`, 'first'],
    [`the second list's ${count(second)} characters`, 'second'],
    ['bystanders, on neither list', 'bystanders'],
  ] as const;
  const rows = parts.flatMap(([name, part]) =>
    runs.map(({ seed, [part]: { images, model, once, twice, changedOnce, changedTwice } }) => [
      `${name}, seed ${seed}`,
      count(images),
      percent(model / images),
      percent(once / images),
      change(model, once, changedOnce, images),
      percent(twice / images),
      change(once, twice, changedTwice, images),
    ]),
  );
  const tensors = runs.map(({ seed, tensors: { added, same } }) => `${same} of ${added} under seed ${seed}`);
  const mean = (of: (run: SecondListRun) => number) => signedPercent(meanOf(runs.map(of)));
  return `# A second list, trained later

    npm run build && npx tsx scripts/results/second-list.ts FOLDER

PP-OCRv6 small is patched for the ${count(first)} characters that it takes most often for one another, and the patched file is patched
again for the ${count(second)} that come next; each patch sees images of its own list and of bystanders, never of the other list, and may
cost bystanders half a point. Images and designs are those of the [complaint lists](complaint-lists.md): four images of a
character in each design on the first list, one on the second. The test images are in designs that no patch saw; the
bystanders here are those by which each patch judged its bound last. Top-1, with changes ± one standard error between
images, paired:

${table(['', 'images', 'the model', 'first patch', 'change', 'both', 'change by the second'], rows)}

Over the seeds the second patch changes its own list by ${mean(({ second: { images, once, twice } }) => (twice - once) / images)}, the first list by ${mean(({ first: { images, once, twice } }) => (twice - once) / images)} and bystanders by ${mean(({ bystanders: { images, once, twice } }) => (twice - once) / images)}.

Of the tensors that the first patch added, the second file has byte for byte: ${tensors.join(', ')}.
`;
}

import { percent, signedPercent, signedWithin } from '../../../src/core/percent.js';
import { count } from '../../../src/core/quantity-text.js';
import { meanOf, table } from '../format.js';

/** What `rapidocr_reads.py` prints: the share of texts that are the character, before and after. */
export interface RapidocrReads {
  readonly images: number;
  readonly width: number;
  readonly before: number;
  readonly after: number;
  /** Of the difference, paired. */
  readonly standardError: number;
}

export interface RapidocrRun {
  readonly seed: number;
  /** Of rapidocr. */
  readonly version: string;
  readonly reads: readonly RapidocrReads[];
}

/** What `rapidocr.json` holds. */
export interface RapidocrResult {
  readonly runs: readonly RapidocrRun[];
}

export function renderRapidocr({ runs }: RapidocrResult): string {
  const versions = [...new Set(runs.map(({ version }) => version))].join(', ');
  const rows = runs.flatMap(({ seed, reads }) =>
    reads.map(({ images, width, before, after, standardError }) => [
      `${width} pixels wide, seed ${seed}`,
      count(images),
      percent(before),
      percent(after),
      signedWithin(after - before, standardError),
    ]),
  );
  const means = runs[0].reads.map(({ width }, place) => {
    const gain = meanOf(runs.map(({ reads }) => reads[place].after - reads[place].before));
    return `${signedPercent(gain)} at ${width} pixels`;
  });
  return `# Inside rapidocr

    npm run build && npx tsx scripts/results/rapidocr.ts FOLDER

\`kd-spec patch\` improves PP-OCRv6 small for the 200 characters that it takes most often for one another, and
\`kd-spec export --replace-output\` puts the fused distribution where the model's own output was. \`rapidocr\` ${versions} opens that file
in place of its own (\`Rec.model_path\`), and reads images of these characters, single ones without detection, in designs
that nothing saw ([images and divisions](second-list.md)). Texts that are the character, with the change ± one standard
error between images, paired; rapidocr fills up images to a width of 320 pixels, specialists learned from images of 48:

${table(['', 'images', 'its own file', 'patched', 'change'], rows)}

Over the seeds: ${means.join(', ')}.
`;
}

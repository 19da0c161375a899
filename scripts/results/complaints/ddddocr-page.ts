import { percent, signedPercent } from '../../../src/core/percent.js';
import { table } from '../format.js';

/** Top-1 of the characters that have images, and of bystanders for the test. */
interface Figures {
  readonly top1: number;
  readonly bystanders: number;
}
/** What a patch found: `kd-spec patch --json`. */
export interface DdddocrPatch {
  readonly before: Figures;
  readonly after: Figures;
  readonly examples: { readonly test: number; readonly bystanders: number };
  readonly calibratedFor: number;
  /** Those that do not keep the bound on the bystanders for the test have their best figures without it. */
  readonly rivals: readonly (Figures & { readonly name: string; readonly keepsBound: boolean })[];
}
export interface DdddocrRun {
  readonly seed: number;
  readonly patch: DdddocrPatch;
  /** With specialists on a refitted last layer; null where that was refused. */
  readonly refitted: Pick<DdddocrPatch, 'after' | 'calibratedFor'> | null;
}

/** What `ddddocr.json` holds. */
export interface DdddocrResult {
  /** Characters. */
  readonly listed: number;
  readonly others: number;
  /** The bound. */
  readonly harm: number;
  readonly runs: readonly DdddocrRun[];
}

export function renderDdddocr({ listed, others, harm, runs }: DdddocrResult): string {
  const [{ patch: first }] = runs;
  const row = (
    name: string,
    figuresOf: (run: DdddocrRun) => (Figures & { readonly keepsBound?: boolean }) | undefined,
  ) => [
    name,
    ...runs.flatMap((run) => {
      const { before } = run.patch;
      const figures = figuresOf(run);
      if (figures === undefined) return ['refused', ''];
      const harm = signedPercent(figures.bystanders - before.bystanders);
      const gain = signedPercent(figures.top1 - before.top1);
      return [gain, figures.keepsBound === false ? `${harm} (beyond)` : harm];
    }),
  ];
  const rivals = first.rivals.filter(({ name }) => name !== 'temperature').map(({ name }) => name);
  const before = runs.map(({ seed, patch, refitted }) => {
    const { top1, bystanders } = patch.before;
    return `seed ${seed}: ${percent(top1)} of ${patch.examples.test} test images, ${percent(bystanders)} of ${patch.examples.bystanders} bystanders, calibrated for a harm of ${percent(patch.calibratedFor)}${refitted ? `, on the refitted layer of ${percent(refitted.calibratedFor)}` : ''}`;
  });
  return `# A recogniser that takes one image at a time

    npm run build && npx tsx scripts/results/ddddocr.ts FOLDER

ddddocr reads 8,209 characters from images of 64 pixels in height, one at a time, and its output has the steps before the
batch; PyPI's package \`ddddocr\` has the file (MIT), used as it is with \`--blank 0 --image-size 64\`. ${listed} characters that PP-OCRv6
takes for one another ([complaint lists](complaint-lists.md), whose degraded images and divisions these are), one view of each
design; bystanders are ${others} other characters. *On a refitted layer*: the model's own, refitted on the same
images and mixed with it by a half (\`--refit-share 0.5 --refit-views 1\`). Changes in points of top-1 in designs that nothing saw, where bystanders may lose
${100 * harm}%. *Beyond*: not shown to keep to that, or found not to; such a file of specialists is refused. The specialists'
bystanders are those by which \`patch\` judges its bound last, so that their figures are no fresh ones:

${table(
  ['', ...runs.flatMap(({ seed }) => [`seed ${seed}: characters`, 'bystanders'])],
  [
    row('**specialists on a refitted layer**', ({ refitted }) => refitted?.after),
    row('**specialists**', ({ patch }) => patch.after),
    ...rivals.map((name) => row(name, ({ patch }) => patch.rivals.find((rival) => rival.name === name))),
  ],
)}

The model itself: ${before.join('; ')}.
`;
}

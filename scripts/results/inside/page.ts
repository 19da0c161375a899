import { percent } from '../../../src/core/percent.js';
import { table, teras } from '../format.js';

/** What specialists gain on validation when a share of the classes of their subsets traded places. */
export interface InsideResult {
  readonly name: string;
  readonly seed: number;
  readonly rows: readonly {
    readonly moved: number;
    /** Share of the confusion of the subsets' classes that is with one another. */
    readonly confusionInside: number;
    readonly generalist: { readonly top1: number };
    /** Each half of the images under what was fitted to the other half. */
    readonly crossFitted: { readonly top1: number };
    /** Validation images. */
    readonly examples: number;
    readonly kept: number;
    readonly rule: string;
    readonly count: number;
    readonly size: number;
    readonly classes: number;
    readonly trainingFlops: number;
  }[];
}

/** The page of subsets whose classes traded places. */
export function renderInsidePage({ name, seed, rows }: InsideResult): string {
  const [{ classes, count, size, examples }] = rows;
  return `# Confusion inside subsets is what specialists gain by: ${name}

${classes.toLocaleString('en')} classes, ${count} subsets of ${size}: as clustering found them, and after a share of their classes, drawn at random, traded places. The generalist, the sizes and overlaps of the subsets, the classes that they cover and the training stay the same. *Inside*: of the confusion of a subset's classes, the share that is with one another. Top-1 on ${examples.toLocaleString('en')} validation images by cross-fitting, seed ${seed}. Backend \`tensorflow\`.

${table(
  [
    'classes that traded places',
    'confusion inside',
    'generalist',
    'with specialists',
    'points',
    'kept',
    'specialists’ training',
  ],
  rows.map(({ moved, confusionInside, generalist, crossFitted, kept, trainingFlops }) => [
    percent(moved, 0),
    percent(confusionInside),
    percent(generalist.top1, 2),
    percent(crossFitted.top1, 2),
    (100 * (crossFitted.top1 - generalist.top1)).toFixed(2),
    `${kept} of ${count}`,
    teras(trainingFlops),
  ]),
)}

Remake it, with every figure in \`inside-${name}.json\`:

    npm run build && npx tsx scripts/results/inside.ts ${name} --moved ${rows.map(({ moved }) => moved).join(',')} --seed ${seed}
`;
}

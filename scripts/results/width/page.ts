import { percent } from '../../../src/core/percent.js';
import { table, teras } from '../format.js';

/** For each width of the generalist: what it, its ensemble and a wider generalist at the ensemble's cost do on validation. */
export interface WidthResult {
  readonly name: string;
  readonly classes: number;
  readonly subsetSize: number;
  /** Units of a specialist's last dense layer. */
  readonly specialistUnits: number;
  readonly seed: number;
  readonly rows: readonly {
    /** Of the generalist's last dense layer. */
    readonly units: number;
    readonly generalist: { readonly top1: number; readonly flopsPerImage: number };
    /** Each half of the images under what was fitted to the other half. */
    readonly ensemble: {
      readonly top1: number;
      readonly flopsPerImage: number;
      readonly trainingFlops: number;
      readonly kept: number;
    };
    readonly rival: {
      readonly units: number;
      readonly top1: number;
      readonly flopsPerImage: number;
      readonly trainingFlops: number;
    };
    /** Validation images. */
    readonly examples: number;
  }[];
}

const megas = (flops: number) => `${(flops / 1e6).toFixed(3)} MFLOP`;

/** Difference of two accuracies in points, with its standard error as if they were independent: paired, it is smaller. */
function ahead(a: number, b: number, examples: number): string {
  const variance = (share: number) => (share * (1 - share)) / examples;
  const points = 100 * (a - b);
  return `${points >= 0 ? '+' : ''}${points.toFixed(1)} ± ${(100 * Math.sqrt(variance(a) + variance(b))).toFixed(1)}`;
}

/** The page of widths. */
export function renderWidthPage({
  name,
  classes,
  subsetSize,
  specialistUnits,
  seed,
  rows,
}: WidthResult): string {
  const costs = (of: { readonly flopsPerImage: number; readonly trainingFlops: number }) =>
    `${megas(of.flopsPerImage)}, ${teras(of.trainingFlops)}`;
  return `# From which width on specialists are the better buy: ${name}

${classes.toLocaleString('en')} classes, specialists of ${subsetSize} classes with ${specialistUnits} units in their last dense layer; top-1 on ${rows[0].examples.toLocaleString('en')} validation images, seed ${seed}. Beside each ensemble, a generalist with a dense layer so wide that it answers at the ensemble's cost, trained for as many operations as the ensemble's generalist and specialists together. Costs: an answer, training. Backend \`tensorflow\`.

${table(
  [
    'units',
    'generalist',
    'an answer',
    'with specialists',
    'costs',
    'a wider generalist: units',
    'top-1',
    'costs',
    'specialists ahead, points',
  ],
  rows.map(({ units, generalist, ensemble, rival, examples }) => [
    units,
    percent(generalist.top1),
    megas(generalist.flopsPerImage),
    percent(ensemble.top1),
    costs(ensemble),
    rival.units,
    percent(rival.top1),
    costs(rival),
    ahead(ensemble.top1, rival.top1, examples),
  ]),
)}

Remake it, with every figure in \`width-${name}.json\`:

    npm run build && npx tsx scripts/results/width.ts ${name} --dense ${rows.map(({ units }) => units).join(',')} --seed ${seed}
`;
}

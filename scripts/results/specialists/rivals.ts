import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { forwardFlops, type NetworkDefinition } from '../../../src/models/network-definition.js';
import { type Bench, metricsOf, runVariant } from '../workspace.js';

/** Layers that are another width than the pipeline's. */
export interface Widths {
  readonly convolutions: readonly number[];
  readonly dense: readonly number[];
}

/** Generalists alone that had a share of the training computation of the pipeline's. */
export interface Rivals {
  readonly workspaces: readonly string[];
  readonly trainingFlops: number;
  readonly trainingSeconds: number;
  readonly flopsPerImage: number;
  readonly parameters: number;
  readonly epochs: number;
  readonly imagesPerClass?: number;
}

const roundingSlack = 0.05; // of an epoch

/**
 * Trains generalists, each for a share of what the pipeline's was.
 *
 * Where images can be made without end the share is met by their number, so that more training is on fresh ones;
 * where they cannot, by epochs, rounded up: a rival is not given less than its due.
 *
 * @param ours the variant whose data set they train on where images cannot be made
 * @param share of the examples of the pipeline's generalist, for all members together
 */
export function trainRivals(
  bench: Bench,
  variant: string,
  { ours, members, share, network }: { ours: string; members: number; share: number; network?: Widths },
): Rivals {
  const { dataset, generalist } = parse(readFileSync(bench.pipeline, 'utf8'));
  const isEndless = dataset.imagesPerClass !== undefined;
  const epochs = isEndless
    ? Math.max(1, Math.round(generalist.epochs / members))
    : Math.ceil((generalist.epochs * share) / members - roundingSlack);
  const imagesPerClass = Math.round(
    (dataset.imagesPerClass * share * generalist.epochs) / (members * epochs),
  );
  const data = isEndless ? { dataset: { imagesPerClass } } : {};
  const source = isEndless ? `images-${imagesPerClass}` : ours;
  if (isEndless) runVariant(bench, source, data).until('dataset');
  const workspaces = Array.from({ length: members }, (_, member) => {
    const another = members > 1 ? { seed: 1000 * bench.seed + member } : {}; // else that of the generalist itself
    const changes = { ...data, generalist: { epochs, ...another, ...(network && { network }) } };
    const one = runVariant(bench, `${variant}-${member}`, changes, [source, ['dataset']]);
    one.until('train-generalist');
    return one.workspace;
  });
  const metrics = workspaces.map((workspace) => metricsOf(workspace, 'generalist'));
  const sum = (key: 'trainingFlops' | 'trainingSeconds' | 'flopsPerImage' | 'parameters') =>
    metrics.reduce((total, of) => total + of[key], 0);
  return {
    workspaces,
    trainingFlops: sum('trainingFlops'),
    trainingSeconds: sum('trainingSeconds'),
    flopsPerImage: sum('flopsPerImage'),
    parameters: sum('parameters'),
    epochs,
    ...(isEndless && { imagesPerClass }),
  };
}

/** What a network costs: floating-point operations. */
interface Cost {
  readonly trainingFlops: number;
  readonly flopsPerImage: number;
}

/**
 * A generalist with wider dense layers that answers at the ensemble's cost, and the share of the generalist's examples
 * that trains it for as many operations as generalist and specialists together.
 */
export function widerRival(
  definition: NetworkDefinition,
  { ensemble, generalist }: { readonly ensemble: Cost; readonly generalist: Cost },
): { readonly network: Widths; readonly share: number } {
  const { convolutions } = definition;
  const network = { convolutions, dense: widthFor(definition, ensemble.flopsPerImage) };
  const dearer = forwardFlops({ ...definition, ...network }) / generalist.flopsPerImage;
  return { network, share: ensemble.trainingFlops / generalist.trainingFlops / dearer };
}

/** The dense layers, wider by a common factor, with which a network answers at a given cost or just above. */
function widthFor(definition: NetworkDefinition, flops: number): number[] {
  for (let added = 0; ; added++) {
    const dense = definition.dense.map((units) => Math.round(units * (1 + added / definition.dense[0])));
    if (forwardFlops({ ...definition, dense }) >= flops) return dense;
  }
}

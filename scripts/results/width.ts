/**
 * From which width of the generalist on specialists are the better buy, judged on validation.
 *
 *     npm run build && npx tsx scripts/results/width.ts han-3k --dense 24,40,64
 *
 * For each width of its last dense layer: the pipeline's generalist of that width, its ensemble, and a generalist with a
 * dense layer so much wider that it answers at the ensemble's cost, trained for as many operations as generalist and
 * specialists together. Specialists are called as in the paper, by the most probable class. Interrupted, it goes on where
 * it was. Results: `docs/results/width-NAME.json` and `.md`.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';
import { readPredictions } from '../../src/data/predictions.js';
import type { NetworkDefinition } from '../../src/models/network-definition.js';
import { trainRivals, widerRival } from './specialists/rivals.js';
import { renderWidthPage, type WidthResult } from './width/page.js';
import { type Bench, kdSpec, metricsOf, remembered, runVariant } from './workspace.js';
import { writeResult } from './write-result.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    dense: { type: 'string', default: '24,40,64' },
    seed: { type: 'string', default: '1' },
    folder: { type: 'string', default: 'kd-workspace/results' },
    out: { type: 'string', default: 'docs/results' },
  },
});
const [name = 'han-3k'] = positionals;
const pipeline = `pipelines/${name}.yaml`;
const settings = parse(readFileSync(pipeline, 'utf8'));
const widths = values.dense.split(',').map(Number);
const bench: Bench = {
  pipeline,
  seed: Number(values.seed),
  folder: join(values.folder, `${name}-width`, values.seed),
};
const variantOf = (units: number) => `dense-${units}`;

async function measure(units: number) {
  const variant = variantOf(units);
  const from = units === widths[0] ? undefined : ([variantOf(widths[0]), ['dataset']] as const);
  const { workspace, until } = runVariant(bench, variant, widened(units), from);
  until('calibrate');
  const { generalist, crossFitted, routing, kept, examples } = metricsOf(workspace, 'ensemble');
  const first = routing.find(({ rule, value }) => rule === 'top' && value === 1);
  if (!first) throw new Error(`${variant}: no routing by the first class was measured`);
  const { flopsPerImage } = first;
  const ofGeneralist = metricsOf(workspace, 'generalist');
  const trainingFlops = ofGeneralist.trainingFlops + metricsOf(workspace, 'specialists').trainingFlops;
  const { network: definition }: { network: NetworkDefinition } = JSON.parse(
    readFileSync(join(workspace, 'generalist', 'config.json'), 'utf8'),
  );
  const ensemble = { trainingFlops, flopsPerImage };
  const { network, share } = widerRival(definition, { ensemble, generalist: ofGeneralist });
  const rival = trainRivals(bench, `${variant}-rival`, { ours: variant, members: 1, share, network });
  kdSpec('predict', '--workspace', rival.workspaces[0], '--seed', values.seed);
  return {
    units,
    generalist: { top1: generalist.top1, flopsPerImage: ofGeneralist.flopsPerImage },
    ensemble: { top1: crossFitted.top1, ...ensemble, kept },
    rival: {
      units: network.dense.at(-1) ?? 0,
      top1: await top1OfFirst(examples, join(rival.workspaces[0], 'predictions')),
      flopsPerImage: rival.flopsPerImage,
      trainingFlops: rival.trainingFlops,
    },
    examples,
  };
}

/** On the images that calibration looked at: the first ones of validation. */
async function top1OfFirst(examples: number, predictions: string): Promise<number> {
  let seen = 0;
  let correct = 0;
  for await (const { probabilities, labels } of (await readPredictions(predictions)).rows()) {
    for (let row = 0; row < probabilities.rows && seen < examples; row++, seen++) {
      if (probabilities.indices[probabilities.offsets[row]] === labels?.[row]) correct++;
    }
    if (seen === examples) break;
  }
  return correct / seen;
}

/** The pipeline with another last dense layer; the most probable class alone calls specialists, at every width. */
function widened(units: number) {
  const dense = [...settings.generalist.network.dense.slice(0, -1), units];
  return { generalist: { network: { dense } }, ensemble: { routingTop: 1, routingMass: null } };
}

mkdirSync(bench.folder, { recursive: true });
const rows: WidthResult['rows'][number][] = [];
for (const units of widths) {
  rows.push(await remembered(join(bench.folder, `${variantOf(units)}.json`), () => measure(units)));
}
const { classes } = settings.dataset;
const { size } = settings.subsets;
writeResult(
  values.out,
  `width-${name}`,
  {
    name,
    classes,
    subsetSize: size,
    specialistUnits: settings.specialists.dense.at(-1),
    seed: bench.seed,
    rows,
  },
  renderWidthPage,
);

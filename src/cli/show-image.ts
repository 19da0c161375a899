import { assert } from '../core/errors.js';
import { percent } from '../core/percent.js';
import { count } from '../core/quantity-text.js';
import { readImageFile } from '../data/image-codec.js';
import { imageFileBatches } from '../data/image-file-batches.js';
import { loadEnsemble } from '../ensemble/load-ensemble.js';
import { rankClasses } from '../models/ranked-class.js';
import type { Settings } from '../pipeline/options.js';
import type { CommandContext } from './context.js';
import { drawImage } from './draw-image.js';
import type { Shown } from './show.js';
import { alignColumns, fitWidth, indent } from './summary.js';
import { usesColor } from './terminal-log.js';

const top = 5;
const nameColumns = 28;

/** How one image is classified: the picture, the predictions of all, each dustbin, and how mass moved. */
export async function showImage(
  path: string,
  { workspace, backend }: Settings,
  { stdout, env }: Pick<CommandContext, 'stdout' | 'env'>,
): Promise<Shown> {
  const ensemble = await loadEnsemble(workspace, { backend });
  try {
    assert(ensemble.input.kind === 'images', 'a generalist predicts for images');
    const { image } = ensemble.input;
    const pixels = await readImageFile(path, image);
    for await (const batch of imageFileBatches([path], image, 1)) {
      const [trace] = await ensemble.trace(batch);
      const { classes } = ensemble;
      const generalist = rankClasses(trace.generalist, top, classes);
      const fused = rankClasses(trace.ensemble, top, classes);
      const specialists = trace.specialists.map(({ position, probabilities, correction, mass }) => {
        const { id, classes: members } = ensemble.specialists[position].config;
        return {
          id,
          size: members.length,
          dustbin: probabilities[members.length],
          correction,
          mass: { ...mass },
          top: rankClasses(probabilities.subarray(0, members.length), top, classes, members),
        };
      });
      const named = (item: { class: string; probability: number } | undefined) =>
        item ? [fitWidth(item.class, nameColumns), percent(item.probability)] : ['', ''];
      const color = 'isTTY' in stdout && usesColor({ isTTY: stdout.isTTY === true }, env);
      const table = alignColumns(
        [
          ['generalist', '', 'ensemble', ''],
          ...fused.map((item, rank) => [...named(generalist[rank]), ...named(item)]),
        ],
        'lrlr',
      );
      const own = specialists.map(({ id, size, dustbin, correction, mass, top: ranked }) =>
        [
          `specialist ${id}, ${count(size)} classes: ${ranked
            .slice(0, 3)
            .map((item) => `${fitWidth(item.class, nameColumns)} ${percent(item.probability)}`)
            .join(', ')}`,
          `  none of its classes ${percent(dustbin)} (logit raised by ${correction.toFixed(2)} nats); mass on its classes ` +
            `${percent(mass.generalist)} before, ${percent(mass.ensemble)} in the ensemble`,
        ].join('\n'),
      );
      return {
        json: {
          path,
          generalist: generalist.map((item) => ({ ...item })),
          ensemble: fused.map((item) => ({ ...item })),
          specialists: specialists.map((one) => ({ ...one, top: one.top.map((item) => ({ ...item })) })),
        },
        text: [
          path,
          indent(drawImage(pixels, image, { color }).join('\n')),
          table,
          own.join('\n') || 'No specialist was active.',
        ].join('\n\n'),
      };
    }
    return { json: { path }, text: path };
  } finally {
    ensemble.dispose();
  }
}

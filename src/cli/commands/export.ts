import { stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { CommandModule } from 'yargs';
import { assert, KdSpecError } from '../../core/errors.js';
import { asFileError } from '../../core/file-error.js';
import type { JsonObject } from '../../core/json.js';
import { byteSize, count } from '../../core/quantity-text.js';
import { createRandom } from '../../core/random.js';
import type { ImageShape } from '../../data/source.js';
import type { Ensemble } from '../../ensemble/ensemble.js';
import type { ExportedModel } from '../../ensemble/export/export-onnx.js';
import type { Settings } from '../../pipeline/options.js';
import { addFlags, flagsOf } from '../command-line.js';
import { type CommandContext, printResult } from '../context.js';
import { alignColumns } from '../summary.js';

// Modules that load a runtime or read images are imported where they are needed, so that every other command starts
// without them.

/** The command that writes an ensemble for other programs. */
export function exportCommand(context: CommandContext): CommandModule {
  return {
    command: 'export',
    describe: 'Write generalist, specialists and fusion of a workspace as one ONNX model',
    builder: (yargs) =>
      addFlags(
        yargs
          .option('out', { type: 'string', requiresArg: true, describe: 'Write the model to this file' })
          .option('format', {
            type: 'string',
            requiresArg: true,
            choices: ['onnx'],
            defaultDescription: 'onnx',
            describe: 'Choose the format',
          }),
        [],
      ),
    handler: async (argv) => {
      if (typeof argv.out !== 'string') throw new KdSpecError('usage', 'expected where to write: --out FILE');
      const { resolveSettings } = await import('../../pipeline/settings.js');
      const { settings } = await resolveSettings(flagsOf(argv, []), context.env, { folder: context.folder });
      const result = await exportEnsemble(resolve(context.folder, argv.out), settings);
      printResult(context, result, settings.json);
    },
  };
}

const comparedImages = 64;
const mostDifference = 1e-3; // of a probability: more is a defect, not rounding

/**
 * Writes the ensemble of a workspace as an ONNX model, after comparing both on images.
 *
 * @param path where to write; what is there is replaced
 * @throws KdSpecError `option-invalid` for what has no form as a graph, `not-found` without an ensemble
 */
async function exportEnsemble(
  path: string,
  { workspace, backend }: Settings,
): Promise<{ readonly json: JsonObject; readonly text: string }> {
  const { loadEnsemble } = await import('../../ensemble/ensemble.js');
  const { exportOnnx } = await import('../../ensemble/export/export-onnx.js');
  const { readBackbone } = await import('../../models/checkpoint.js');
  const { readImportedModel } = await import('../../models/onnx/onnx-backbone.js');
  const ensemble = await loadEnsemble(workspace, { backend });
  try {
    const { generalist, specialists, settings, classes } = ensemble;
    const folder = join(workspace, 'generalist');
    const backbone = await readBackbone(folder);
    const imported = backbone === undefined ? undefined : await readImportedModel(folder, backbone);
    const model = await exportOnnx({ generalist, specialists, settings, classes, imported });
    const compared = await compare(model, ensemble, workspace);
    if (!(compared.maxDifference < mostDifference)) {
      throw new KdSpecError(
        'fusion-input',
        `the exported model differs from the ensemble by ${compared.maxDifference.toPrecision(2)} on ` +
          `${compared.images} images: this is a defect of kd-spec; nothing was written`,
      );
    }
    await writeFile(path, model.bytes).catch((error: unknown) => {
      throw asFileError(error, path, 'the exported model');
    });
    const { size } = await stat(path);
    const json = {
      file: path,
      inputs: [model.input],
      outputs: [model.outputs.probabilities, model.outputs.generalist],
      classes: classes.length,
      specialists: settings.specialists.filter(({ kept }) => kept).length,
      rule: settings.rule,
      bytes: size,
      ...compared,
    };
    const text = alignColumns([
      ['model', `${path}, ${byteSize(size)}`],
      [
        'input',
        imported ? `${model.input}, as before` : `${model.input}: (batch, channels, height, width), 0 to 1`,
      ],
      ['outputs', `${json.outputs.join(', ')}: (batch, ${count(classes.length)})`],
      ['agrees', `within ${compared.maxDifference.toExponential(1)} on ${count(compared.images)} images`],
    ]);
    return { json, text };
  } finally {
    ensemble.dispose();
  }
}

/** The greatest difference of a probability between ensemble and exported model, on test images or, without any, noise. */
async function compare(
  { bytes, input, outputs, feed }: ExportedModel,
  ensemble: Ensemble,
  workspace: string,
): Promise<{ readonly images: number; readonly maxDifference: number }> {
  assert(ensemble.input.kind === 'images', 'a generalist predicts for images');
  const batch = await imagesOf(workspace, ensemble.input.image);
  const expected = await ensemble.probabilities(batch);
  const { openSession } = await import('../../models/onnx/runtime.js');
  const session = await openSession(bytes, { name: 'the exported model' });
  try {
    const results = await session.run({ [input]: feed(batch.images, batch.count) }, [outputs.probabilities]);
    const found = results.get(outputs.probabilities)?.values ?? new Float32Array();
    let maxDifference = found.length === expected.length ? 0 : Number.POSITIVE_INFINITY;
    for (let i = 0; i < expected.length; i++)
      maxDifference = Math.max(maxDifference, Math.abs(found[i] - expected[i]));
    return { images: batch.count, maxDifference };
  } finally {
    session.dispose();
  }
}

async function imagesOf(workspace: string, image: ImageShape) {
  const { imageBatches } = await import('../../data/batches.js');
  const { openDataset } = await import('../../data/dataset.js');
  const dataset = await openDataset(join(workspace, 'dataset')).catch(() => undefined);
  for await (const batch of dataset
    ? imageBatches(dataset.splits.test, image, { batchSize: comparedImages })
    : []) {
    return batch;
  }
  const random = createRandom('export');
  const size = image.height * image.width * image.channels;
  const images = Float32Array.from({ length: comparedImages * size }, () => random.uniform());
  return { images, count: comparedImages };
}

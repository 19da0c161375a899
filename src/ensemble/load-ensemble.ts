import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { BackendName } from '../compute/backend.js';
import { KdSpecError } from '../core/errors.js';
import type { Classifier } from '../models/classifier.js';
import { readExportedMetadata } from '../models/onnx/exported-metadata.js';
import { decodeOnnxModel, readModelBytes } from '../models/onnx/model-file.js';
import { modelFileOf } from '../models/onnx/model-path.js';
import { openOnnxClassifier } from '../models/onnx/onnx-classifier.js';
import type { RuntimeName } from '../models/onnx/runtime.js';
import { type Ensemble, loadNetworkEnsemble } from './ensemble.js';
import { exportOnnx, modelBytes } from './export/export-onnx.js';
import { openExportedEnsemble } from './export/exported-ensemble.js';
import { exportedParts } from './export/exported-parts.js';

/** What runs an ensemble: its networks on a backend, or its exported form in ONNX Runtime. */
export type EnsembleRuntime = 'auto' | 'onnx' | 'tensorflow' | 'wasm';

/** Options of {@link loadEnsemble}. */
export interface LoadOptions {
  /** Of the networks; default `auto`, the fastest that is installed. */
  readonly backend?: BackendName;
  /**
   * Default `auto`: networks on the backend, a file in the fastest ONNX Runtime. `onnx` runs a workspace's ensemble in
   * ONNX Runtime, too, as it would be exported; `wasm` runs a file in the one that is always there.
   */
  readonly runtime?: EnsembleRuntime;
  /** For messages; default the path of a file, or `the ensemble`. */
  readonly name?: string;
}

/**
 * Opens any ONNX classifier: one that was exported with all that it says about itself, another by its first output.
 *
 * @param options.note gets a sentence for each thing that was assumed
 * @param options.runtime `wasm` takes the ONNX Runtime that is always there
 * @throws KdSpecError `not-found`, `checkpoint-invalid`; `option-invalid` for the runtime `tensorflow`
 */
export async function openModelFile(
  path: string,
  { note, runtime = 'auto' }: { readonly note: (text: string) => void; readonly runtime?: EnsembleRuntime },
): Promise<Classifier> {
  const onnx = onnxRuntime(path, runtime);
  const bytes = await readModelBytes(path);
  return readExportedMetadata(decodeOnnxModel(path, bytes, { anySize: true })) === undefined
    ? openOnnxClassifier(path, { note, runtime: onnx })
    : openExportedEnsemble(bytes, { path, runtime: onnx });
}

/**
 * Which ONNX Runtime runs a file.
 *
 * @throws KdSpecError `option-invalid` where networks were wanted
 */
function onnxRuntime(path: string, runtime: EnsembleRuntime): RuntimeName {
  if (runtime !== 'tensorflow') return runtime === 'wasm' ? 'wasm' : 'auto';
  throw new KdSpecError(
    'option-invalid',
    `${path}: an ONNX file runs in ONNX Runtime: take the runtime auto, onnx or wasm, or load the workspace`,
  );
}

/**
 * Loads the ensemble of a workspace, or one that was exported as a file.
 *
 * @param place a folder in which `kd-spec run` or `kd-spec calibrate` has finished, an `.onnx` file that `kd-spec export`
 * or `kd-spec patch` wrote, or a folder of `kd-spec export --format hf`
 * @throws KdSpecError `not-found` or `checkpoint-invalid` when something is missing or damaged; `option-invalid` for a
 * runtime that cannot run it
 *
 * @example
 * const ensemble = await loadEnsemble('kd-workspace');
 * const [image] = await ensemble.classify(['glyph.png']);
 * console.log(image.ensemble[0].class);
 * ensemble.dispose();
 */
export async function loadEnsemble(
  place: string,
  { backend = 'auto', runtime = 'auto', name }: LoadOptions = {},
): Promise<Ensemble> {
  const path = existsSync(join(place, 'ensemble')) ? place : modelFileOf(place);
  if (path.toLowerCase().endsWith('.onnx')) {
    const options = { path, name, runtime: onnxRuntime(path, runtime) };
    return openExportedEnsemble(await readModelBytes(path), options);
  }
  if (runtime !== 'onnx') {
    return loadNetworkEnsemble(path, { backend: runtime === 'auto' ? backend : runtime, name });
  }
  const networks = await loadNetworkEnsemble(path, { backend, name });
  try {
    const model = await exportOnnx(await exportedParts(networks, join(path, 'generalist')), { trace: true });
    return await openExportedEnsemble(modelBytes(model), { path, name: networks.name });
  } finally {
    networks.dispose();
  }
}

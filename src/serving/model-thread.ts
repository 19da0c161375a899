import { createRequire } from 'node:module';
import type { BackendName } from '../compute/backend.js';
import { assert } from '../core/errors.js';
import { keepThread } from '../core/kept-thread.js';
import { isBuilt } from '../core/thread.js';
import type { ImageTrace } from '../ensemble/inference.js';
import type { EnsembleRuntime } from '../ensemble/load-ensemble.js';
import { type Classifier, createClassifier, type ImageBatch, rowOf } from '../models/classifier.js';
import type { TracingClassifier } from './batcher.js';

// A batch takes long, and while it is computed the process that computes it does nothing else: no request is read, none
// refused, and /healthz is silent. So a model that is served has a thread of its own, and is a `Classifier` all the same.

/** Where a model comes from: a thread opens it itself, since networks cannot be sent. */
export type ModelSource =
  | {
      readonly kind: 'workspace';
      readonly path: string;
      readonly backend: BackendName;
      readonly runtime?: EnsembleRuntime | undefined;
    }
  | { readonly kind: 'file'; readonly path: string; readonly runtime?: EnsembleRuntime | undefined };

/** A request to the thread. */
export interface PredictionRequest {
  readonly wanted: 'logits' | 'probabilities' | 'trace';
  readonly batch: ImageBatch;
}

/** What the thread says of the model that it opened. */
export interface OpenedModel {
  readonly model: Pick<Classifier, 'name' | 'classes' | 'input'>;
  readonly specialists: TracingClassifier['specialists'] | undefined;
  readonly kept: TracingClassifier['kept'];
  readonly specialistCount: TracingClassifier['specialistCount'];
  readonly notes: readonly string[];
}

/** What was predicted for a batch, in arrays that are the thread's no longer. */
export interface ThreadPrediction {
  /** (batch, classes) */
  readonly rows: Float32Array<ArrayBuffer>;
  readonly trace?: {
    /** (batch, classes) */
    readonly generalist: Float32Array<ArrayBuffer>;
    readonly specialists: readonly ImageTrace['specialists'][];
  };
}

/** Opens a model in this thread. @param note gets a sentence for each thing that was assumed */
export async function openModel(source: ModelSource, note: (text: string) => void): Promise<Classifier> {
  const { loadEnsemble, openModelFile } = await import('../ensemble/load-ensemble.js');
  return source.kind === 'workspace'
    ? loadEnsemble(source.path, { backend: source.backend, runtime: source.runtime ?? 'auto' })
    : openModelFile(source.path, { note, runtime: source.runtime ?? 'auto' });
}

/** Options of {@link openInThread}. */
export interface ModelThreadOptions {
  /** Gets a sentence for each thing that was assumed. */
  readonly note?: (text: string) => void;
  /** Told if the thread ends by itself, for lack of memory for instance; every later prediction fails. */
  readonly onEnd: (error: Error) => void;
}

/** Whether a model would run in an addon, not in WebAssembly. */
async function usesAddon(source: ModelSource): Promise<boolean> {
  if (source.kind === 'workspace') {
    const { selectBackend } = await import('../compute/backend.js');
    return (await selectBackend(source.backend)).name !== 'wasm';
  }
  try {
    createRequire(import.meta.url).resolve('onnxruntime-node');
    return true;
  } catch {
    return false;
  }
}

const program = new URL('./model-thread-program.js', import.meta.url);

/**
 * Opens a model in a thread of its own, so that this one reads requests while a batch is computed. Images and predictions
 * are copied once on their way.
 *
 * Where the program is not built (a worker cannot load TypeScript), the model is opened here; so is one that an addon
 * computes, since TensorFlow's crashes the process when the thread that loaded it ends.
 *
 * @returns a {@link TracingClassifier} where the model traces; `dispose` ends the thread after its present batch
 * @throws what the model throws when it is opened
 */
export async function openInThread(
  source: ModelSource,
  { note = () => {}, onEnd }: ModelThreadOptions,
): Promise<Classifier> {
  if (!isBuilt(program) || (await usesAddon(source))) return openModel(source, note);
  const thread = await keepThread<OpenedModel, PredictionRequest, ThreadPrediction>(program, source, {
    name: 'the thread of the model',
    onEnd,
  });
  const { model, specialists, kept, specialistCount, notes } = thread.opened;
  for (const text of notes) note(text);
  const predict = (wanted: PredictionRequest['wanted'], { images, count }: ImageBatch) => {
    const own = images.slice(); // the caller keeps its array
    return thread.request({ wanted, batch: { images: own, count } }, [own.buffer]);
  };

  const classifier = createClassifier({
    ...model,
    logits: async (batch, out) => out.set((await predict('logits', batch)).rows),
    probabilities: async (batch, out) => out.set((await predict('probabilities', batch)).rows),
    dispose: () => thread.close(),
  });
  if (specialists === undefined) return classifier;
  const classes = model.classes.length;
  const tracing: TracingClassifier = {
    ...classifier,
    specialists,
    kept,
    specialistCount,
    async trace(batch, { out } = {}) {
      const room = classifier.roomFor(batch, out);
      if (batch.count === 0) return [];
      const { rows, trace } = await predict('trace', batch);
      assert(trace !== undefined, 'a model without a trace');
      room.set(rows);
      return trace.specialists.map(
        (queried, image): ImageTrace => ({
          generalist: rowOf(trace.generalist, image, classes),
          ensemble: rowOf(room, image, classes),
          specialists: queried,
        }),
      );
    },
  };
  return tracing;
}

/** The program of a thread of `model-thread.ts`: opens a model and predicts with it, a batch at a time. */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../core/errors.js';
import { toThreadError } from '../core/thread.js';
import type { Classifier } from '../models/classifier.js';
import { canTrace } from './batcher.js';
import {
  type FromModelThread,
  type ModelSource,
  openModel,
  type ThreadPrediction,
  type ToModelThread,
} from './model-thread.js';

assert(parentPort !== null, 'the program of a thread, started otherwise');
const port = parentPort;
const tell = (message: FromModelThread, transferred: ArrayBuffer[] = []) =>
  port.postMessage(message, transferred);

/** Batches one after the other, until the model is closed. */
function serve(classifier: Classifier): void {
  let last = Promise.resolve();
  port.on('message', (message: ToModelThread) => {
    last = last.then(async () => {
      if (message.kind === 'close') {
        classifier.dispose();
        process.exit(); // of the thread, whatever handles a backend keeps
      }
      const { id } = message;
      try {
        const found = await predict(classifier, message);
        const arrays = [found.rows.buffer, ...(found.trace ? [found.trace.generalist.buffer] : [])];
        tell({ kind: 'predicted', id, ...found }, arrays);
      } catch (error) {
        tell({ kind: 'failed', id, ...toThreadError(error) });
      }
    });
  });
}

/** A prediction in arrays of its own: those of a trace may be views of what the backend needs. */
async function predict(
  classifier: Classifier,
  { wanted, batch }: Extract<ToModelThread, { kind: 'predict' }>,
): Promise<ThreadPrediction> {
  const classes = classifier.classes.length;
  const rows = new Float32Array(batch.count * classes);
  if (wanted !== 'trace') {
    await classifier[wanted](batch, { out: rows });
    return { rows };
  }
  assert(canTrace(classifier), 'a trace of a model that has none');
  const traces = await classifier.trace(batch, { out: rows });
  const generalist = new Float32Array(batch.count * classes);
  for (const [image, trace] of traces.entries()) generalist.set(trace.generalist, image * classes);
  const specialists = traces.map((trace) =>
    trace.specialists.map((one) => ({ ...one, probabilities: one.probabilities.slice() })),
  );
  return { rows, trace: { generalist, specialists } };
}

try {
  const notes: string[] = [];
  const classifier = await openModel(workerData as ModelSource, (text) => notes.push(text));
  const { name, classes, input } = classifier;
  const specialists = canTrace(classifier)
    ? classifier.specialists.map(({ config }) => ({
        config: { id: config.id, classes: Array.from(config.classes) },
      }))
    : undefined;
  serve(classifier);
  tell({ kind: 'opened', model: { name, classes, input }, specialists, notes });
} catch (error) {
  tell({ kind: 'not-opened', ...toThreadError(error) });
}

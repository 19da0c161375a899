/** The program of a thread of `model-thread.ts`: opens a model and predicts with it, a batch at a time. */
import { assert } from '../core/errors.js';
import { serveRequests } from '../core/kept-thread.js';
import type { Classifier } from '../models/classifier.js';
import { canTrace } from './batcher.js';
import {
  type ModelSource,
  type OpenedModel,
  openModel,
  type PredictionRequest,
  type ThreadPrediction,
} from './model-thread.js';

/** A prediction in arrays of its own: those of a trace may be views of what the backend needs. */
async function predict(
  classifier: Classifier,
  { wanted, batch }: PredictionRequest,
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

await serveRequests<ModelSource, OpenedModel, PredictionRequest, ThreadPrediction>(async (source) => {
  const notes: string[] = [];
  const classifier = await openModel(source, (text) => notes.push(text));
  const { name, classes, input } = classifier;
  const specialists = canTrace(classifier)
    ? classifier.specialists.map(({ config }) => ({
        config: { id: config.id, classes: Array.from(config.classes) },
      }))
    : undefined;
  const { kept, specialistCount } = canTrace(classifier) ? classifier : {};
  return {
    opened: { model: { name, classes, input }, specialists, kept, specialistCount, notes },
    async reply(request) {
      const value = await predict(classifier, request);
      return {
        value,
        transferred: [value.rows.buffer, ...(value.trace ? [value.trace.generalist.buffer] : [])],
      };
    },
    dispose: () => classifier.dispose(),
  };
});

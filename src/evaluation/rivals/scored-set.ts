import type { ThreadTask } from '../../core/thread.js';
import { topK } from '../../math/top-k.js';
import { eachOfHead, type FeatureSet, type HeadContext } from '../../training/heads/fit-head.js';

import { emptyLeaders, lead, type ScoredSet } from './rival.js';

/** Classes of the generalist that are kept of an image, the most probable ones. */
export const keptFirst = 10;

type ScoreContext = Pick<HeadContext, 'operations' | 'head' | 'isPictured' | 'inPlay' | 'signal'>;

/**
 * Runs the generalist's head over some images.
 *
 * @throws KdSpecError `interrupted`
 *
 * Cost: a product of the head, and a pass over its logits, for each image.
 */
export async function scoreSet(context: ScoreContext, set: FeatureSet): Promise<ScoredSet> {
  const { head, isPictured } = context;
  const isInPlay = new Uint8Array(head.classes);
  for (const label of context.inPlay) isInPlay[label] = 1;
  const pictured = [...isPictured.keys()].filter((label) => isPictured[label] === 1);
  const count = Math.min(keptFirst, head.classes);
  const leaders = emptyLeaders(set.rows);
  const outOfPlay = { classes: new Int32Array(set.rows), logits: new Float32Array(set.rows) };
  const first = {
    count,
    classes: new Int32Array(set.rows * count),
    logits: new Float32Array(set.rows * count),
  };
  await eachOfHead(context, set, ({ start, logits }) => {
    for (let at = 0, row = start; at < logits.length; at += head.classes, row++) {
      const all = logits.subarray(at, at + head.classes);
      const { indices, values } = topK(all, count);
      first.classes.set(indices, row * count);
      first.logits.set(values, row * count);
      let own = -1;
      for (const label of pictured) if (own < 0 || all[label] > all[own]) own = label;
      const sides = [own, firstWithout(isPictured, all, indices)];
      const known = sides.filter((label) => label >= 0);
      const candidates = { classes: Int32Array.from(known), inside: Number(own >= 0) };
      lead(
        leaders,
        row,
        Float32Array.from(known, (label) => all[label]),
        candidates,
      );
      const out = firstWithout(isInPlay, all, indices);
      outOfPlay.classes[row] = out;
      outOfPlay.logits[row] = out < 0 ? Number.NEGATIVE_INFINITY : all[out];
    }
  });
  return { ...set, generalist: { leaders, outOfPlay, first } };
}

/** The class of the highest logit among those without a mark, -1 where all have one; the first classes tell it mostly. */
function firstWithout(marks: Uint8Array, logits: Float32Array, first: Int32Array): number {
  for (const label of first) if (marks[label] === 0) return label;
  let found = -1;
  for (let label = 0; label < logits.length; label++)
    if (marks[label] === 0 && (found < 0 || logits[label] > logits[found])) found = label;
  return found;
}

/** What a thread is given: a context without what cannot be copied. */
interface ScoreRequest {
  readonly context: Omit<ScoreContext, 'operations' | 'signal'>;
  readonly set: FeatureSet;
}

/** {@link scoreSet} for a thread, which is ended from outside; it computes in WebAssembly. */
export const scoreTask: ThreadTask<ScoreRequest, ScoredSet> = {
  module: import.meta.url,
  name: 'scoreTask',
  async run({ context, set }) {
    const { selectBackend } = await import('../../compute/backend.js');
    const { operations } = await selectBackend('wasm');
    return scoreSet({ ...context, operations, signal: new AbortController().signal }, set);
  },
};

import { findFinished, type SpecialistOutcome, type SpecialistWork } from './specialist-work.js';

/** What stands in the folder of some work, whoever made it. */
export interface Collection {
  readonly done: readonly SpecialistOutcome[];
  /** Positions of the subsets whose specialists are still to be trained. */
  readonly missing: readonly number[];
}

/** Looks which specialists are done. A torn or foreign artefact is missing: its job makes it again. */
export async function collect(work: SpecialistWork): Promise<Collection> {
  const done: SpecialistOutcome[] = [];
  const missing: number[] = [];
  for (const [position, { id }] of work.subsets.entries()) {
    if (await findFinished(work, position)) done.push({ id, seconds: 0, wasDone: true });
    else missing.push(position);
  }
  return { done, missing };
}

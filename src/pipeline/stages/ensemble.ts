import type { JsonObject } from '../../core/json.js';
import type { StageContext } from '../stage.js';

/** Fits what the ensemble needs to know on validation. */
export async function calibrateEnsemble(_context: StageContext): Promise<JsonObject> {
  throw new Error('not wired yet');
}

import type { JsonObject } from '../../core/json.js';
import type { StageContext } from '../stage.js';

/** Trains a specialist for each subset. */
export async function trainSpecialists(_context: StageContext): Promise<JsonObject> {
  throw new Error('not wired yet');
}

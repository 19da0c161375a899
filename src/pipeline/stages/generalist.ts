import type { JsonObject } from '../../core/json.js';
import type { StageContext } from '../stage.js';

/** Trains the generalist on the training part of the data set. */
export async function trainGeneralist(_context: StageContext): Promise<JsonObject> {
  throw new Error('not wired yet');
}

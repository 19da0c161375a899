import type { JsonObject } from '../../core/json.js';
import type { StageContext } from '../stage.js';

/** Writes the generalist's most probable classes for each image of a part of the data. */
export async function predict(_context: StageContext): Promise<JsonObject> {
  throw new Error('not wired yet');
}

import type { JsonObject } from '../../core/json.js';
import type { StageContext } from '../stage.js';

/** Writes the data set that the settings name as Arrow shards. */
export async function makeDataset(_context: StageContext): Promise<JsonObject> {
  throw new Error('not wired yet');
}

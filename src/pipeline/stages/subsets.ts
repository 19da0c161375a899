import type { JsonObject } from '../../core/json.js';
import type { StageContext } from '../stage.js';

/** Clusters the classes that are confused into subsets. */
export async function findSubsets(_context: StageContext): Promise<JsonObject> {
  throw new Error('not wired yet');
}

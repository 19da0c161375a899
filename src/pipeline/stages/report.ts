import type { JsonObject } from '../../core/json.js';
import type { StageContext } from '../stage.js';

/** Evaluates generalist, specialists and ensemble on test images. */
export async function evaluate(_context: StageContext): Promise<JsonObject> {
  throw new Error('not wired yet');
}

import { existsSync } from 'node:fs';
import { join } from 'node:path';

// By itself: commands ask before they load what opens a model.

/** The file of a model that somebody named: of a folder that `kd-spec export --format hf` wrote, the model in it. */
export function modelFileOf(path: string): string {
  const inside = join(path, 'model.onnx');
  return existsSync(inside) ? inside : path;
}

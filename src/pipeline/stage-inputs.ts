import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ArtefactIdentity } from '../core/artefact-writer.js';
import { KdSpecError } from '../core/errors.js';
import { withFileErrors } from '../core/file-error.js';
import { hashFile } from '../core/file-hashes.js';
import { entryKind } from '../core/file-kind.js';
import type { JsonObject, JsonValue } from '../core/json.js';
import { optionsOf } from './option-list.js';
import type { Settings } from './options.js';
import { settingAt } from './settings.js';
import type { Stage } from './stage.js';
import type { StageName } from './stage-names.js';

/** The options of a stage by their keys within its section, e.g. `network.dense`: all, or those that affect results. */
export function stageParameters(stage: StageName, settings: Settings, which: 'all' | 'result'): JsonObject {
  const parameters: { [key: string]: JsonValue } = {};
  for (const { section, path, option } of optionsOf([stage])) {
    if (section !== stage || (which === 'result' && option.affects !== 'result')) continue;
    parameters[path.slice(1).join('.')] = settingAt(settings, path);
  }
  return parameters;
}

/** What decides the content of a stage's artefact. */
export function stageIdentity(
  stage: Stage,
  settings: Settings,
  inputs: Readonly<Record<string, string>>,
): ArtefactIdentity {
  return { parameters: stageParameters(stage.name, settings, 'result'), seed: settings.seed, inputs };
}

/**
 * The sha256 of what a stage reads from outside the workspace, by option.
 *
 * A folder counts as the paths and contents of all files under it.
 *
 * @throws KdSpecError `not-found` or `not-readable`
 */
export async function outsideInputs(
  stage: Stage,
  settings: Settings,
): Promise<Readonly<Record<string, string>>> {
  const inputs: Record<string, string> = {};
  for (const [option, path] of Object.entries(stage.files?.(settings) ?? {})) {
    inputs[option] = await withFileErrors(path, () => hashPath(path));
  }
  return inputs;
}

async function hashPath(path: string): Promise<string> {
  const info = await stat(path);
  if (info.isFile()) return hashFile(path);
  if (!info.isDirectory())
    throw new KdSpecError('not-readable', `${path}: expected a regular file, found ${entryKind(info)}`);
  const hash = createHash('sha256');
  for (const name of (await readdir(path, { recursive: true })).sort()) {
    const child = join(path, name);
    if ((await stat(child)).isFile()) hash.update(`${await hashFile(child)} ${name}\n`);
  }
  return hash.digest('hex');
}

import { parseText } from '../pipeline/option-values.js';
import { generalOptions } from '../pipeline/options/general-options.js';
import type { Settings } from '../pipeline/options.js';
import { flagsOf } from './command-line.js';
import type { CommandContext } from './context.js';

/**
 * The settings of a command that makes no artefact; what of the environment sets none of them is told.
 *
 * @param options.isToldLater whether the stage that the command ends with tells it
 */
export async function commandSettings(
  argv: Parameters<typeof flagsOf>[0],
  context: CommandContext,
  { isToldLater = false }: { readonly isToldLater?: boolean } = {},
): Promise<Settings> {
  const { resolveSettings } = await import('../pipeline/settings.js');
  const { createTerminalLog, usesColor } = await import('./terminal-log.js');
  const { folder, env, stderr } = context;
  const { settings, warnings } = await resolveSettings(flagsOf(argv, []), env, { folder });
  if (isToldLater) return settings;
  using log = createTerminalLog(stderr, { quiet: settings.quiet, color: usesColor(stderr, env) });
  for (const warning of warnings) log.warn(warning);
  return settings;
}

/** Whether a command that takes no other settings prints JSON: by its flag, or by the environment. */
export function wantsJson(argv: Readonly<Record<string, unknown>>, { env }: CommandContext): boolean {
  if (typeof argv.json === 'boolean') return argv.json;
  const checked = parseText(generalOptions.json, env.KD_SPEC_JSON ?? '');
  return 'value' in checked && checked.value === true;
}

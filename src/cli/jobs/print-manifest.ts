import { stringify } from 'yaml';
import { KdSpecError } from '../../core/errors.js';
import { jobsFolder, readWork } from '../../jobs/jobs-folder.js';
import { kubernetesManifest } from '../../jobs/kubernetes.js';
import { parseTimeLimit } from '../../jobs/slurm/slurm-options.js';
import type { Settings } from '../../pipeline/options.js';
import { type CommandContext, printResult } from '../context.js';

/** Prints the manifest of a Kubernetes job that trains the specialists of a workspace. */
export async function printManifest(
  { workspace, json }: Settings,
  value: (name: string) => string | undefined,
  context: CommandContext,
): Promise<void> {
  const engine = value('engine') ?? 'kubernetes';
  if (engine !== 'kubernetes') {
    throw new KdSpecError('option-invalid', `--engine: expected kubernetes, got "${engine}"`);
  }
  const integer = (name: string, otherwise: number, least: number) => {
    const number = Number(value(name) ?? otherwise);
    if (Number.isSafeInteger(number) && number >= least) return number;
    throw new KdSpecError(
      'option-invalid',
      `--${name}: expected an integer of ${least} or more, got "${value(name)}"`,
    );
  };
  const named = (name: string, otherwise: string, pattern: RegExp, expected: string) => {
    const text = value(name) ?? otherwise;
    if (pattern.test(text)) return text;
    throw new KdSpecError('option-invalid', `--${name}: expected ${expected}, got "${text}"`);
  };
  const timeLimit = (name: string) => {
    const text = value(name);
    const seconds = text === undefined ? undefined : parseTimeLimit(text);
    if (text === undefined || seconds !== undefined) return seconds;
    throw new KdSpecError(
      'option-invalid',
      `--${name}: expected a time such as 90 (minutes) or 4:00:00, got "${text}"`,
    );
  };
  const dnsName = [/^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$/, 'lower case letters, digits and dashes'] as const;
  const { subsets } = await readWork(jobsFolder(workspace));
  const manifest = kubernetesManifest({
    completions: subsets.length,
    parallelism: integer('parallelism', 10, 1),
    image: value('image') ?? 'kd-spec',
    claim: named('claim', 'kd-spec', ...dnsName),
    subPath: value('sub-path'),
    cpus: integer('cpus', 1, 1),
    memory: named('memory', '4Gi', /^\d+(\.\d+)?([KMGTPE]i?)?$/, 'a quantity such as 8Gi'),
    gpus: integer('gpus', 0, 0),
    timeLimitSeconds: timeLimit('time'),
    name: named('name', 'kd-spec-specialists', ...dnsName),
  });
  printResult(context, { json: manifest, text: stringify(manifest).trimEnd() }, json);
}

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { KdSpecError } from '../core/errors.js';
import { parseJsonText } from '../core/json-file.js';
import { schemaProblem } from '../core/schema-problem.js';
import { mostLabelNoise } from './label-noise.js';
import { fusionRule, fusionRules } from './rules/index.js';
import type { RuleParameter } from './rules/rule.js';

const positive = z.number().positive();
/** Far beyond what calibration tries; a logit divided by less is not finite. */
const temperature = z.number().min(1e-4).max(1e4);
const parameterValues = z.record(z.string(), z.number());

const ensembleFileSchema = z
  .looseObject({
    /** n of the top-n rule: a specialist is queried when its subset meets the generalist's n most probable classes. */
    routingTop: z.int().positive(),
    /** Instead: a specialist is queried when the generalist puts at least this much mass on its subset. */
    routingMass: z.number().positive().max(1).nullish(),
    /** The most specialists for an image: see `RoutingRule`. Absent in files of version 0.1: as many as it takes. */
    routingMost: z.int().positive().exactOptional(),
    /** The name of the fusion rule. */
    rule: z.enum(fusionRules.map(({ name }) => name)),
    /** Of the rule's parameters that are per ensemble. */
    parameters: parameterValues.exactOptional(),
    generalistTemperature: temperature,
    /** The share of labels that may be any class, and so of every distribution: see `underLabelNoise`. Absent: none. */
    labelNoise: z.number().min(0).max(mostLabelNoise).exactOptional(),
    specialists: z
      .array(
        z.looseObject({
          id: z.int().nonnegative(),
          temperature,
          weight: positive,
          /** Of the rule's parameters that are per specialist. */
          parameters: parameterValues.exactOptional(),
          /** Whether it takes part at inference. */
          kept: z.boolean(),
        }),
      )
      .readonly(),
  })
  .superRefine(({ rule, parameters, specialists }, { addIssue }) => {
    const check = (per: RuleParameter['per'], path: (string | number)[], values = {}) => {
      const known = fusionRule(rule).parameters.filter((parameter) => parameter.per === per);
      for (const [name, value] of Object.entries<number>(values)) {
        const parameter = known.find((candidate) => candidate.name === name);
        const [low, high] = parameter?.range ?? [Number.NaN, Number.NaN];
        if (value === parameter?.neutral || (value >= low && value <= high)) continue;
        const wanted = parameter
          ? `expected ${parameter.neutral}, or ${low} to ${high}, got ${value}`
          : `rule ${rule} has no such parameter`;
        addIssue({ code: 'custom', path: [...path, name], message: wanted });
      }
    };
    check('ensemble', ['parameters'], parameters);
    for (const [m, specialist] of specialists.entries())
      check('specialist', ['specialists', m, 'parameters'], specialist.parameters);
  });

/** How generalist and specialists are put together: what `ensemble.json` says. Everything in it was chosen on validation. */
export type EnsembleFile = z.infer<typeof ensembleFileSchema>;

export const ensembleFileName = 'ensemble.json';

/** @throws KdSpecError `not-found`, or `checkpoint-invalid` when the file does not fit its schema */
export async function readEnsembleFile(directory: string): Promise<EnsembleFile> {
  const path = join(directory, ensembleFileName);
  const text = await readFile(path, 'utf8').catch(() => {
    const advice = existsSync(join(directory, '..', 'dataset'))
      ? 'kd-spec run makes it of what is in this workspace'
      : 'kd-spec run --source FOLDER makes one of your images; or check the workspace';
    throw new KdSpecError('not-found', `no ensemble at ${path}: ${advice}`);
  });
  const problem = { code: 'checkpoint-invalid', advice: 'run kd-spec calibrate again' } as const;
  const value = withParameters(parseJsonText(text, path, problem));
  const { data, error } = ensembleFileSchema.safeParse(value);
  if (data) return data;
  throw new KdSpecError(problem.code, `${path}: ${schemaProblem(value, error)}; ${problem.advice}`);
}

/** Files of version 0.1 have the one parameter that there was beside the rule's name, whatever the rule. */
function withParameters(file: unknown): unknown {
  if (typeof file !== 'object' || file === null || !('dustbinTrust' in file)) return file;
  const { dustbinTrust, ...rest } = file;
  const isUsed = 'rule' in rest && rest.rule === 'combine';
  return isUsed ? { ...rest, parameters: { dustbinTrust } } : rest;
}

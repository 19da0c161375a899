import { assert } from '../../core/errors.js';
import { combine } from './combine.js';
import { paper } from './paper.js';
import type { FusionRule } from './rule.js';
import { shareInside } from './share-inside.js';

/** Every fusion rule. One more is one more line here. */
export const fusionRules: readonly FusionRule[] = [paper, shareInside, combine];

/** The rule of a name that was checked. */
export function fusionRule(name: string): FusionRule {
  const rule = fusionRules.find((candidate) => candidate.name === name);
  assert(rule !== undefined, `no fusion rule "${name}"`);
  return rule;
}

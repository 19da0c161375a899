import type { RuleParameter } from './rule.js';

/**
 * What the log odds of a subset against all other classes are raised by, in nats.
 *
 * Where only some classes have images, more of it is always more likely on validation, which has no image of the other
 * classes: only bystanders tell what it costs those.
 */
export const massShift: RuleParameter = {
  name: 'massShift',
  title: 'what the log odds of a subset are raised by, in nats',
  per: 'specialist',
  neutral: 0,
  range: [-4, 4],
  scale: 'linear',
  tolerance: 0.05,
  fittedOn: 'validation and bystanders',
};

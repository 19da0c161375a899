import type { RemainingMass } from '../compute/operations.js';

/**
 * What a student can learn: distributions at a temperature, as they are, in two parts, or of standardised logits; logits;
 * labels alone.
 */
export const objectiveKinds = ['soft-targets', 'decoupled', 'standardised', 'logits', 'labels'] as const;
export type ObjectiveKind = (typeof objectiveKinds)[number];

/** Whether an objective has a temperature. */
export function isTempered(kind: ObjectiveKind): boolean {
  return kind !== 'logits' && kind !== 'labels';
}

/** What a student learns. */
export interface StudentObjective {
  readonly kind: ObjectiveKind;
  readonly temperature: number;
  /** Of the classes other than the label among themselves, where the objective is decoupled. */
  readonly otherWeight: number;
  /** Weight of the labels beside the teacher, whose weight is 1. */
  readonly hardWeight: number;
  readonly rest: RemainingMass;
}

/** The objectives of a sweep: every temperature with every weight; one alone where neither plays a part. */
export function sweepObjectives({
  objective: kind,
  temperature,
  hardWeight,
  rest,
  otherWeight,
}: {
  readonly objective: StudentObjective['kind'];
  readonly temperature: readonly number[];
  readonly hardWeight: readonly number[];
  readonly rest: RemainingMass;
  readonly otherWeight: number;
}): readonly StudentObjective[] {
  if (kind === 'labels') return [{ kind, temperature: 1, hardWeight: 1, rest, otherWeight }];
  const temperatures = isTempered(kind) ? [...new Set(temperature)] : [1];
  return temperatures.flatMap((t) =>
    [...new Set(hardWeight)].map((weight) => ({
      kind,
      temperature: t,
      hardWeight: weight,
      rest,
      otherWeight,
    })),
  );
}

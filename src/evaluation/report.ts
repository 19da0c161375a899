import type { Evaluation } from './evaluation.js';

/** How long a stage took. */
export interface StageTime {
  readonly stage: string;
  readonly seconds: number;
}

/** The accuracy that nothing can exceed on this data, where the data set knows it. */
export interface ReportCeiling {
  readonly top1: number;
  readonly standardError: number;
  readonly examples: number;
}

/** What `kd-spec evaluate --json` prints and `report.json` holds. Accuracies are fractions in [0, 1]. */
export interface Report extends Evaluation {
  readonly dataset: { readonly description: string; readonly classes: number };
  /** The subsets by class name, the most typical class first. */
  readonly subsets: readonly { readonly id: number; readonly classes: readonly string[] }[];
  /** How the distributions were fused, and how many of the trained specialists validation kept. */
  readonly fusion: { readonly rule: string; readonly kept: number; readonly trained: number };
  readonly stages: readonly StageTime[];
  readonly ceiling?: ReportCeiling;
}

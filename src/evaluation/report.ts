import type { SplitName } from '../data/source.js';
import type { RoutingPoint } from '../ensemble/routing-curve.js';
import type { Accuracy } from '../models/accuracy.js';
import type { CurvePoint } from './curve-charts.js';
import type { OriginalAccuracy } from './evaluate-ensemble.js';
import type { Evaluation } from './evaluation.js';
import type { BystanderReport } from './harm.js';
import type { InferenceCost } from './inference-cost.js';
import type { ReportExample } from './report-example.js';
import type { RivalsReport } from './rivals/compare-rivals.js';

/** What a stage took. */
export interface StageCost {
  readonly stage: string;
  /** Of the whole stage, by the clock, over all its sittings. */
  readonly seconds: number;
  /** Of training alone; of specialists the sum over all of them, however many trained at once. */
  readonly trainingSeconds?: number;
  /** Multiplications and additions of training. */
  readonly trainingFlops?: number;
}

/** The accuracy that nothing can exceed on this data, where the data set knows it. */
export interface ReportCeiling {
  readonly top1: number;
  readonly standardError: number;
  readonly examples: number;
}

/** A fusion rule with specialists of its own choice, on validation: each half under what was chosen on the other half. */
export interface RuleOnValidation {
  readonly rule: string;
  readonly kept: number;
  readonly top1: number;
  /** Mean, in nats. */
  readonly negativeLogLikelihood: number;
  /** Expected calibration error, from 0 to 1. */
  readonly calibrationError: number;
}

/** What `kd-spec evaluate --json` prints and `report.json` holds. Accuracies are fractions in [0, 1]. */
export interface Report extends Evaluation {
  readonly dataset: { readonly description: string; readonly classes: number };
  /** The part of the data that everything under `test`, `conditional` and `coverage` was measured on. */
  readonly split: SplitName;
  /** The subsets by class name, the most typical class first. */
  readonly subsets: readonly { readonly id: number; readonly classes: readonly string[] }[];
  /**
   * The imported model as it was, on the same images, where the generalist has another last layer: harm is measured against
   * it.
   */
  readonly original?: OriginalAccuracy;
  /** How the distributions were fused, and how many of the trained specialists validation kept. */
  readonly fusion: {
    readonly rule: string;
    readonly kept: number;
    readonly trained: number;
    /** The rules that were fitted, the one in use first. */
    readonly rules?: readonly RuleOnValidation[];
  };
  /** What specialists do to images of what none of them learned, where there are bystanders. */
  readonly bystanders?: BystanderReport;
  /** What else could be done with the same images, where it was asked for. */
  readonly rivals?: RivalsReport;
  /** The stages before the report, in order. */
  readonly stages: readonly StageCost[];
  readonly ceiling?: ReportCeiling;
  /** What a prediction costs. */
  readonly inference?: InferenceCost;
  /** Accuracy on validation against cost, under rules of routing. */
  readonly routing?: readonly RoutingPoint[];
  /** The epochs of the generalist's training. */
  readonly curve?: readonly CurvePoint[];
  /** The distilled student on the same images, where there is one. */
  readonly student?: Accuracy & { readonly parameters: number };
  /** One image with the predictions of both; absent when no specialist was queried for any. */
  readonly example?: ReportExample;
}

/**
 * What the comparison compares: changes to a pipeline, by name. Nothing here was chosen by looking at test images.
 */
import type { Overrides } from '../workspace.js';

/** Half of a specialist's examples come from its own classes (section 5.2). */
export const paperSpecialFraction = 0.5;

/**
 * Our method as the paper has it: fixed sizes, specialists of the generalist's size, no calibration, no selection, top 1,
 * uniform outsiders.
 *
 * @param epochs of a specialist
 */
export const paperOverrides = (classes: number, epochs: number): Overrides => ({
  subsets: {
    balance: 'classes',
    clusters: null,
    specialists: Math.round((61 * classes) / 15_000),
    size: 300,
  },
  specialists: {
    head: 'dustbin',
    dense: null,
    epochs,
    specialFraction: paperSpecialFraction,
    routedShare: 0,
    softShare: 0,
  },
  ensemble: { routingTop: 1, routingMass: null, rule: 'paper', calibrate: false, select: false },
});

/** A change to our method, and the artefacts that it leaves as they are. */
export interface Ablation {
  readonly name: string;
  readonly overrides: Overrides;
  readonly keeps: 'subsets' | 'specialists' | 'predictions';
}

const ofEnsemble = (name: string, ensemble: Overrides[string]): Ablation => ({
  name,
  overrides: { ensemble },
  keeps: 'specialists',
});
const ofSpecialists = (name: string, specialists: Overrides[string]): Ablation => ({
  name,
  overrides: { specialists },
  keeps: 'subsets',
});
const ofSubsets = (name: string, subsets: Overrides[string]): Ablation => ({
  name,
  overrides: { subsets },
  keeps: 'predictions',
});

const partitionInto = (clusters: number) => ({ specialists: null, size: null, clusters });

/** What the ablations need to know of the pipeline they change. */
export interface Ablated {
  readonly classes: number;
  /** Units of the generalist's dense layers. */
  readonly dense: readonly number[];
  /** Epochs of a specialist. */
  readonly epochs: number;
  /** Images of a step of a specialist. */
  readonly batchSize: number;
}

export const ablations = ({ classes, dense, epochs, batchSize }: Ablated): readonly Ablation[] => [
  ofEnsemble("the paper's rule, fitted", { rule: 'paper' }),
  ofEnsemble("the paper's rule, nothing fitted or left out", {
    rule: 'paper',
    calibrate: false,
    select: false,
  }),
  ofEnsemble('shared out inside', { rule: 'share-inside' }),
  ofEnsemble('combined', { rule: 'combine' }),
  ofEnsemble('a weight for each specialist', { weights: 'each' }),
  ofEnsemble('no selection', { select: false }),
  ofEnsemble('no calibration', { calibrate: false }),
  ofEnsemble('first class alone calls', { routingTop: 1, routingMass: null }),
  ofEnsemble('first 3 classes call', { routingTop: 3, routingMass: null }),
  ofEnsemble('10% of the mass calls', { routingMass: 0.1 }),
  ofSpecialists('uniform outsiders', { routedShare: 0 }),
  ofSpecialists('half of the outsiders routed', { routedShare: 0.5 }),
  ofSpecialists('nine of ten outsiders routed', { routedShare: 0.9 }),
  ofSpecialists('nine of ten outsiders routed, three quarters of the epochs', {
    routedShare: 0.9,
    epochs: Math.round(0.75 * epochs),
  }),
  ofSpecialists("a third of the target is the generalist's", { softShare: 0.33 }),
  ofSpecialists("full softmax, the generalist's soft targets for outsiders", { head: 'full', softShare: 0 }),
  ofSpecialists('as wide as the generalist', { dense: null }),
  ofSpecialists('as wide as the generalist, trained 2.5 times as long', {
    dense: null,
    epochs: Math.round(2.5 * epochs),
  }),
  ofSpecialists('four times as wide as the generalist', { dense: dense.map((units) => 4 * units) }),
  ofSpecialists('in batches four times as large', { batchSize: 4 * batchSize }),
  ofSpecialists('head retrained', { retrain: 'head', dense: null }),
  ofSpecialists('everything retrained', { retrain: 'all', head: 'dustbin', routedShare: 0, softShare: 0 }),
  ofSubsets('twice as many, half as large', { specialists: Math.round(classes / 125), size: 150 }),
  ofSubsets('twice as many, as large', { specialists: Math.round(classes / 125), size: 300 }),
  ofSubsets('a partition of bounded sizes, as many', partitionInto(Math.round((61 * classes) / 15_000))),
  ofSubsets('a partition of bounded sizes, 75 classes each', partitionInto(Math.round(classes / 75))),
  ofSubsets('a partition balanced in confusion, as many', {
    ...partitionInto(Math.round((61 * classes) / 15_000)),
    balance: 'confusion',
  }),
  ofSubsets('a partition balanced in confusion, 75 classes each', {
    ...partitionInto(Math.round(classes / 75)),
    balance: 'confusion',
  }),
  ofSubsets('subsets by confusion with labels', { affinity: 'confusion' }),
  ofSubsets('subsets by first predictions with labels', { affinity: 'confusion', confusion: 'hard' }),
];

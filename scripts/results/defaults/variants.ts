/**
 * What the choice of the defaults compares: settings, by name. Nothing here was chosen by looking at test images.
 */
import type { Overrides } from '../workspace.js';

/** The network of the guide's example: a user's first one. */
const network = { convolutions: [16, 32], dense: [64] };

/** The defaults before. */
export const old = {
  generalist: { network, batchSize: 128, epochs: 10, schedule: 'cosine', patience: null },
  specialists: { batchSize: 128, epochs: 10, dense: null },
  subsets: { clusters: null },
  ensemble: { rule: 'paper' },
} as const satisfies Overrides;

/** What became the defaults. */
export const chosen = {
  generalist: { network, batchSize: 32, epochs: 100, schedule: 'plateau', patience: 5 },
  specialists: { ...old.specialists, batchSize: 32 },
  subsets: old.subsets,
  ensemble: { rule: 'auto' },
} as const satisfies Overrides;

interface Variant {
  /** The name of its workspace. */
  readonly name: string;
  readonly label: string;
  readonly overrides: Overrides;
}

const ofGeneralist = (name: string, label: string, changes: Overrides[string]): Variant => ({
  name,
  label,
  overrides: { generalist: { ...chosen.generalist, ...changes } },
});

export const generalists: readonly Variant[] = [
  ofGeneralist('g-old', 'old: 10 epochs, batches of 128, cosine', old.generalist),
  ofGeneralist('g-chosen', 'new: batches of 32, plateau, patience 5', {}),
  ofGeneralist('g-p3', 'patience 3', { patience: 3 }),
  ofGeneralist('g-p10', 'patience 10', { patience: 10 }),
  ofGeneralist('g-128', 'batches of 128', { batchSize: 128 }),
  ofGeneralist('g-40', '40 epochs, cosine', { epochs: 40, schedule: 'cosine', patience: null }),
];

/** A change beyond the generalist, the variant that it starts from, and the artefacts it takes over from there. */
interface Borrowing extends Variant {
  readonly from: string;
  readonly keeps: readonly string[];
}

const upToPredictions = ['dataset', 'generalist', 'predictions'];
const upToSubsets = [...upToPredictions, 'subsets'];

const ofSpecialists = (name: string, label: string, changes: Overrides[string]): Borrowing => ({
  name,
  label,
  overrides: { ...chosen, specialists: { ...chosen.specialists, ...changes } },
  from: 's-128',
  keeps: upToSubsets,
});

const ofClusters = (name: string, clusters: number): Borrowing => ({
  name,
  label: `${clusters} clusters`,
  overrides: { ...chosen, subsets: { clusters } },
  from: 's-128',
  keeps: upToPredictions,
});

/** All on the new generalist. */
export const specialists: readonly Borrowing[] = [
  {
    ...ofSpecialists('s-128', 'old: batches of 128', { batchSize: 128 }),
    from: 'g-chosen',
    keeps: upToPredictions,
  },
  ofSpecialists('s-chosen', 'new: batches of 32', {}),
  ofSpecialists('s-wide', 'twice as wide', { dense: [128] }),
  ofSpecialists('s-20', '20 epochs', { epochs: 20 }),
  ofClusters('s-c6', 6),
  ofClusters('s-c24', 24),
];

export const testRuns: readonly Borrowing[] = [
  { name: 'test-old', label: 'old defaults', overrides: old, from: 'g-old', keeps: upToPredictions },
  { name: 's-chosen', label: 'new defaults', overrides: chosen, from: 's-128', keeps: upToSubsets },
];

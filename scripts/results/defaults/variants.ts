/**
 * What the choice of the defaults compares: settings, by name. Nothing here was chosen by looking at test images.
 */
import { clustersOf } from '../../../src/pipeline/outline.js';
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

/** The two benchmarks, as small as a user's data. */
export const benchmarks = {
  'jft-like': {
    classes: 500,
    description: '500 synthetic classes of 40 images for training, 4 for validation and 4 for the test',
    dataset: { source: 'jft-like', classes: 500, imagesPerClass: 40 },
  },
  han: {
    classes: 500,
    description:
      '500 Han characters, the data set of the quickstart: the fonts of the test are not those of training',
    dataset: { source: 'han', classes: 500, imageSize: 20, copies: 2 },
  },
} as const;

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

const ofSubsets = (name: string, label: string, subsets: Overrides[string]): Borrowing => ({
  name,
  label,
  overrides: { ...chosen, subsets },
  from: 's-128',
  keeps: upToPredictions,
});

/** All on the new generalist of a data set with so many classes. */
export function specialistsFor(classes: number): readonly Borrowing[] {
  const clusters = clustersOf({ clusters: null, minSize: null, maxSize: null }, classes, classes);
  const [half, twice] = [Math.round(clusters / 2), 2 * clusters];
  const size = Math.round((2 * classes) / clusters);
  return [
    {
      ...ofSpecialists('s-128', 'old: batches of 128', { batchSize: 128 }),
      from: 'g-chosen',
      keeps: upToPredictions,
    },
    ofSpecialists('s-chosen', `new: batches of 32, ${clusters} clusters`, {}),
    ofSpecialists('s-wide', 'twice as wide', { dense: [128] }),
    ofSpecialists('s-20', '20 epochs', { epochs: 20 }),
    ofSubsets(`s-c${half}`, `${half} clusters`, { clusters: half }),
    ofSubsets(`s-c${twice}`, `${twice} clusters`, { clusters: twice }),
    ofSubsets('s-overlap', `${clusters} subsets of ${size}, which overlap`, { specialists: clusters, size }),
  ];
}

export const testRuns: readonly Borrowing[] = [
  { name: 'test-old', label: 'old defaults', overrides: old, from: 'g-old', keeps: upToPredictions },
  { name: 's-chosen', label: 'new defaults', overrides: chosen, from: 's-128', keeps: upToSubsets },
];

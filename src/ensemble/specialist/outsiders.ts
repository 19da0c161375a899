import { readPredictions } from '../../data/predictions.js';
import { type SharedFeatures, viewPredictions } from './shared-features.js';

/** How outsiders are drawn: the generalist's mass on the subset for each training image, and how much it counts. */
export interface OutsiderMasses {
  /** Share of the outsiders that is drawn in proportion to the mass, in [0, 1]; the rest uniformly. */
  readonly share: number;
  /** For each view, (rows): the mass on the subset; the rows are in the order of the shared features. */
  readonly masses: readonly Float32Array[];
  /** Mean mass over the outsiders of all views, above 0. */
  readonly meanMass: number;
}

const leastMeanMass = 1e-9; // where the generalist sends no outsider into the subset, drawing stays uniform

/**
 * The generalist's mass on a subset, for every view of every training image.
 *
 * @param shared with predictions
 * @param isSpecial whether a class belongs to the subset
 * @param share of the outsiders that is to be drawn by mass
 * @returns undefined where the generalist sends no outsider into the subset
 *
 * Cost: one pass over the stored predictions; 4 bytes a row and view.
 */
export async function outsiderMasses(
  shared: SharedFeatures,
  isSpecial: (label: number) => boolean,
  share: number,
): Promise<OutsiderMasses | undefined> {
  const masses: Float32Array[] = [];
  let sum = 0;
  let outsiders = 0;
  for (let view = 0; view < shared.views; view++) {
    const predictions = await readPredictions(viewPredictions(shared, view));
    const ofView = new Float32Array(predictions.rowCount);
    let row = 0;
    for await (const { probabilities, labels } of predictions.rows()) {
      const { offsets, indices, values, rows } = probabilities;
      for (let i = 0; i < rows; i++, row++) {
        let mass = 0;
        for (let entry = offsets[i]; entry < offsets[i + 1]; entry++) {
          if (isSpecial(indices[entry])) mass += values[entry];
        }
        ofView[row] = mass;
        if (labels === undefined || isSpecial(labels[i])) continue;
        sum += mass;
        outsiders++;
      }
    }
    masses.push(ofView);
  }
  const meanMass = sum / Math.max(1, outsiders);
  return meanMass > leastMeanMass ? { share, masses, meanMass } : undefined;
}

/**
 * Draws a given number of items from a stream, each with its own expected number of copies.
 *
 * Systematic sampling: with expected copies e_1, e_2, ... of sum `total`, and one u uniform in [0, 1), item i comes
 * `floor(e_1 + ... + e_i + u) - floor(e_1 + ... + e_{i-1} + u)` times: floor(e_i) or ceil(e_i), on average e_i.
 *
 * @param uniform u
 * @returns a function that takes the expected copies of the next item and returns how often it comes
 */
export function systematicSample(uniform: number): (expected: number) => number {
  let cumulated = uniform;
  return (expected) => {
    const before = Math.floor(cumulated);
    cumulated += expected;
    return Math.floor(cumulated) - before;
  };
}

/** How often an outsider with a mass is expected relative to uniform drawing: `(1 - share) + share m / mean m`. */
export function drawingRatio(mass: number, masses: OutsiderMasses | undefined): number {
  return masses === undefined ? 1 : 1 - masses.share + (masses.share * mass) / masses.meanMass;
}

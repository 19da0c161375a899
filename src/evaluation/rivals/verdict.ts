import { percent, percentWithin, shortPercent, signedWithin } from '../../core/percent.js';
import { byteSize, count } from '../../core/quantity-text.js';
import {
  type FreeNumbers,
  importedRivals,
  mostNeighbourBytes,
  pairedDifference,
  writtenRivals,
} from './rival.js';

/** What a rival gets with some numbers, on images that nothing was fitted to. Fractions in [0, 1]. */
export interface RivalFigures {
  /** The free numbers: `share` of what is mixed in, `shift` of the classes with images in nats, and so on. */
  readonly settings: FreeNumbers;
  readonly top1: number;
  /** Over the generalist, on the same images of classes with data. */
  readonly gain: number;
  readonly standardError: number;
  /** Accuracy that bystanders lose; absent where there are none. */
  readonly harm?: { readonly harm: number; readonly standardError: number };
}

/** What a rival, or the ensemble, makes of the test images. */
export interface Outcome {
  readonly figures: RivalFigures;
  /** (test images), 1 where the prediction is the label. */
  readonly right: Uint8Array;
}

/** Whether something else is better than the specialists, and what to do then. */
export interface Verdict {
  /** The rival that is better than the ensemble by more than two standard errors; null where none is. */
  readonly better: string | null;
  /** Of the best rival over the ensemble, on the same images. */
  readonly difference: number;
  readonly standardError: number;
  readonly text: string;
}

/** What to do where another rival is better that no export writes. */
const advice: Readonly<Record<string, string>> = {
  hidden: 'train a hidden layer and a head on the features of your model with your own tools',
  neighbours: 'keep the training features in an index, and rank the first classes again by the nearest ones',
};

function adviceFor(
  name: string,
  { isImported, stored }: { readonly isImported: boolean; readonly stored: number },
): string {
  const isTooLarge = name === 'neighbours' && stored > mostNeighbourBytes;
  const isWritten =
    writtenRivals.some((one) => one === name) && (isImported || !importedRivals.includes(name));
  if (isWritten && !isTooLarge) return `kd-spec export --refit ${name} --out FILE writes that model`;
  const reason = isTooLarge
    ? `, whose training features of ${byteSize(stored)} are over the ${byteSize(mostNeighbourBytes)} that it stores`
    : '';
  return `kd-spec does not write that model${reason}: ${advice[name] ?? 'make it with your own tools'}`;
}

/** The harm that a rival may do: up to the bound, or as much as the ensemble does. */
export const allowedHarm = (bound: number | null, ensemble: RivalFigures): number =>
  Math.max(bound ?? 1, ensemble.harm?.harm ?? 0);

/**
 * Whether a rival is better than the ensemble: by more than two standard errors of the paired difference on the test
 * images, and where there are bystanders with a harm on those for the test that is within the bound, or no larger than
 * the ensemble's. The bound is kept on the bystanders that choose a rival's numbers, and may be broken on others: one
 * that gains more so is named with what it costs.
 *
 * @param options.bound on the harm; none where nothing measures it
 * @param options.others classes without images
 * @param options.isImported whether the generalist is an imported model, into which hidden units and neighbours can be
 * written
 * @param options.stored bytes of the training features, which neighbours are sought among
 * @param options.canRefit whether the specialists stand on an imported model as it came, whose last layer can be refitted
 */
export function verdictOf(
  rivals: readonly { readonly name: string; readonly outcome: Outcome | undefined }[],
  ensemble: Outcome,
  {
    bound,
    others,
    isImported = false,
    stored = 0,
    canRefit = false,
  }: {
    readonly bound: number | undefined;
    readonly others: number;
    readonly isImported?: boolean;
    readonly stored?: number;
    readonly canRefit?: boolean;
  },
): Verdict {
  const own = ensemble.figures;
  const allowed = allowedHarm(bound ?? null, own);
  const candidates = rivals
    .flatMap(({ name, outcome }) => {
      if (outcome === undefined || name === 'generalist' || name === 'temperature') return [];
      const { mean, standardError } = pairedDifference(outcome.right, ensemble.right);
      const { harm } = outcome.figures;
      const isAhead = mean > 2 * standardError && mean > 0;
      return [
        { name, outcome, mean, standardError, isAhead, isWithin: harm === undefined || harm.harm <= allowed },
      ];
    })
    .sort((a, b) => b.mean - a.mean);
  const first = candidates.find(({ isWithin }) => isWithin);
  const beyond = candidates.find(({ isWithin }) => !isWithin);
  const harmText = ({ harm }: RivalFigures) =>
    harm ? percentWithin(harm.harm, harm.standardError) : 'nothing measured';
  const within = bound === undefined ? '' : `, where at most ${shortPercent(bound)} is allowed`;
  const gain = `the specialists gain ${signedWithin(own.gain, own.standardError)} over the generalist`;
  const sentences: string[] = [];
  if (first?.isAhead) {
    const { name, outcome } = first;
    const costs = own.harm
      ? ` It costs bystanders ${harmText(outcome.figures)}, the specialists ${harmText(own)}${within}.`
      : '';
    sentences.push(
      `A rival is better than the specialists for these images: ${name}, by ` +
        `${signedWithin(first.mean, first.standardError)} in top-1 (${percent(outcome.figures.top1)} against ` +
        `${percent(own.top1)}).${costs} ${adviceFor(name, { isImported, stored })}.` +
        (canRefit
          ? ' With --refit-share 0.5 specialists stand on a refitted last layer, and may gain more than both.'
          : ''),
    );
  } else if (first) {
    sentences.push(
      `No rival is better than the specialists by more than two standard errors${bound === undefined ? '' : ' within the allowed harm'}; ` +
        `the best of them, ${first.name}, differs by ${signedWithin(first.mean, first.standardError)} in top-1, and ${gain}.`,
    );
  } else sentences.push(`No rival keeps the bound on harm; ${gain}.`);
  if (beyond?.isAhead && beyond.mean > Math.max(0, first?.mean ?? 0)) {
    sentences.push(
      `${capitalised(beyond.name)} gains ${signedWithin(beyond.mean, beyond.standardError)} more than the specialists, but costs bystanders ` +
        `${harmText(beyond.outcome.figures)}${first?.isAhead ? '' : `, the specialists ${harmText(own)}${within}`}.`,
    );
  }
  if (bound === undefined && others > 0) {
    sentences.push(
      `Nothing measures what happens to the ${count(others)} classes without images: give --bystanders PATH.`,
    );
  }
  return {
    better: first?.isAhead ? first.name : null,
    difference: first?.mean ?? 0,
    standardError: first?.standardError ?? 0,
    text: sentences.join(' '),
  };
}

const capitalised = (name: string) => name.charAt(0).toUpperCase() + name.slice(1);

import type { FeatureSet, FitCost, Head, HeadContext } from '../../training/heads/fit-head.js';
import {
  adapterRank,
  type HeadKind,
  headCost,
  hiddenUnits,
  mixedHead,
  trainHead,
} from '../../training/heads/train-head.js';
import { mixedLeaders } from './mixed-leaders.js';
import { type Leaders, type Rival, shifts } from './rival.js';

const kinds = {
  bias: 'the bias of every class refitted on the images, weights as they are',
  refitted: 'the head refitted on the images, from the weights of the generalist',
  hidden: `the head refitted together with a hidden layer of ${hiddenUnits} units for all classes`,
  adapter: `a low-rank adapter of the features (rank ${adapterRank}) before the generalist's head`,
} as const satisfies Readonly<Record<HeadKind, string>>;

const shares = [0.1, 0.25, 0.5, 0.75, 1];

/**
 * Trains a head, and makes of it the rivals that can be had of it: as it is, or mixed with the original.
 *
 *     z = (1 - share) z_generalist + share z_trained,   the classes with images raised by the shift
 *
 * @returns of a refitted head two rivals, otherwise one; `dispose` frees what was trained
 */
export async function trainRivals(
  kind: HeadKind,
  context: HeadContext,
): Promise<{ readonly rivals: readonly Rival[]; readonly fit: FitCost; dispose(): void }> {
  const { head, isPictured } = context;
  const { model, scored, fit } = await trainHead(kind, context);
  try {
    const cost = { ...headCost(kind, head), trainingSeconds: fit.seconds, trainingFlops: fit.flops };
    // Mixing costs little beside the logits: a refitted head has two rivals, which ask for the same images.
    const known = new Map<
      FeatureSet,
      { readonly at: readonly number[]; readonly found: readonly Leaders[] }
    >();
    const leaders: Rival['leaders'] = async (set, variants) => {
      const wanted = variants.map(({ share = 1 }) => share);
      let { at, found } = known.get(set) ?? { at: [], found: [] };
      if (!wanted.every((share) => at.includes(share))) {
        at = [...new Set([...shares, ...wanted])];
        found = await mixedLeaders(context, { model, scored }, set, at);
        known.set(set, { at, found });
      }
      return wanted.map((share) => found[at.indexOf(share)]);
    };
    const blended: Rival = {
      name: kind === 'refitted' ? 'interpolated' : kind,
      what:
        kind === 'refitted'
          ? 'the refitted head mixed with the original, the classes with images raised or lowered'
          : `${kinds[kind]}, mixed with the original`,
      variants: shares.map((share) => ({ share })),
      shifts,
      cost,
      leaders,
      head: async ({ variant: { share = 1 }, shift }) =>
        raised(mixedHead(head, await model.dense(), scored, share), isPictured, shift),
    };
    const plain: Rival = { ...blended, name: kind, what: kinds[kind], variants: [{ share: 1 }], shifts: [0] };
    return {
      rivals: kind === 'refitted' ? [plain, blended] : [blended],
      fit,
      dispose: () => model.dispose(),
    };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** A head under which the classes with images have logits higher by some nats. */
function raised(head: Head, isPictured: Uint8Array, shift: number): Head {
  return { ...head, bias: head.bias.map((value, label) => value + shift * isPictured[label]) };
}

/** The generalist as it is, and with one number that raises or lowers the classes with images: their prior. */
export function generalistRivals(context: HeadContext): { readonly plain: Rival; readonly prior: Rival } {
  const { head, isPictured } = context;
  const { flops } = headCost('bias', head);
  const none = { flops, parameters: 0, trainingSeconds: 0, trainingFlops: 0 };
  const leaders: Rival['leaders'] = async ({ generalist }, variants) =>
    variants.map(() => generalist.leaders);
  const plain: Rival = {
    name: 'generalist',
    what: 'the model as it is',
    variants: [{}],
    shifts: [0],
    cost: none,
    leaders,
  };
  return {
    plain,
    prior: {
      ...plain,
      name: 'prior',
      what: 'one number that raises or lowers all classes with images against the others',
      shifts,
      cost: { ...none, parameters: 1 },
      head: async ({ shift }) => raised(head, isPictured, shift),
    },
  };
}

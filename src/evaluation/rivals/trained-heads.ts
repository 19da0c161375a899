import type { Tensor2D, Variable } from '../../compute/operations.js';
import { createRandom, derivedSeed } from '../../core/random.js';
import { eachChunk, type FitCost, fitHead, type RivalContext, type TrainedHead } from './fit-head.js';
import { emptyLeaders, type Head, lead, type Rival, shifts } from './rival.js';

const flopsOf = (inputs: number, units: number) => 2 * inputs * units;

/** The head as it is, with what is trained beside it or in its place. */
type Kind = 'bias' | 'refitted' | 'hidden' | 'adapter';

const hiddenUnits = 64;
const adapterRank = 16;
// On standardised features. A bias moves its logit by as much as itself, a weight by as many times as there are features.
const rates: Readonly<Record<Kind, number>> = { bias: 0.03, refitted: 1e-3, hidden: 1e-3, adapter: 3e-3 };

function buildHead(kind: Kind, { operations, head, seed }: RivalContext): TrainedHead & { dispose(): void } {
  const { width, classes } = head;
  const random = createRandom(derivedSeed(seed), 'rivals', kind);
  const normal = (inputs: number, units: number, gain: number) =>
    operations.variable(
      Float32Array.from({ length: inputs * units }, () => Math.sqrt(gain / inputs) * random.normal()),
      [inputs, units] as const,
    );
  const zeros = (inputs: number, units: number) =>
    operations.variable(new Float32Array(inputs * units), [inputs, units] as const);
  const own = flopsOf(width, classes);
  const isFrozen = kind === 'bias' || kind === 'adapter';
  const bias = operations.variable(head.bias, [classes] as const);
  const weights = operations.variable(head.weights, [width, classes] as const);
  const all: Variable[] = [weights, bias];
  const made = (
    trained: readonly Variable[],
    flops: number,
    logits: (features: Tensor2D) => Tensor2D,
    more: Pick<TrainedHead, 'dense'> = {},
  ): TrainedHead & { dispose(): void } => ({
    variables: trained,
    rate: rates[kind],
    logits,
    flops,
    ...more,
    dispose: () => operations.dispose([...all]),
  });
  const dense = (features: Tensor2D) =>
    operations.dense(features, weights, bias, { inputGradient: isFrozen && kind === 'adapter' });
  const asDense = async (values: Tensor2D) => ({
    weights: await operations.read(values),
    bias: await operations.read(bias),
  });
  switch (kind) {
    case 'bias':
      return made([bias], own, dense, { dense: () => asDense(weights) });
    case 'refitted':
      return made([weights, bias], own, dense, { dense: () => asDense(weights) });
    case 'hidden': {
      const [into, offset, out] = [
        normal(width, hiddenUnits, 2),
        operations.variable(new Float32Array(hiddenUnits), [hiddenUnits] as const),
        zeros(hiddenUnits, classes),
      ];
      all.push(into, offset, out);
      const flops = own + flopsOf(width, hiddenUnits) + flopsOf(hiddenUnits, classes);
      return made([weights, bias, into, offset, out], flops, (features) => {
        const hidden = operations.relu(operations.dense(features, into, offset, { inputGradient: false }));
        return operations.add(dense(features), operations.dense(hidden, out, undefined));
      });
    }
    case 'adapter': {
      const rank = Math.min(adapterRank, width);
      const [down, up] = [normal(width, rank, 1), zeros(rank, width)];
      all.push(down, up);
      return made(
        [down, up],
        own + flopsOf(width, rank) + flopsOf(rank, width),
        (features) => {
          const low = operations.dense(features, down, undefined, { inputGradient: false });
          return dense(operations.add(features, operations.dense(low, up, undefined)));
        },
        {
          async dense() {
            const whole = operations.tidy(() =>
              operations.add(weights, operations.matMul(down, operations.matMul(up, weights))),
            );
            try {
              return await asDense(whole);
            } finally {
              whole.dispose();
            }
          },
        },
      );
    }
  }
}

const kinds = {
  bias: 'the bias of every class refitted on the images, weights as they are',
  refitted: 'the head refitted on the images, from the weights of the generalist',
  hidden: `the head refitted together with a hidden layer of ${hiddenUnits} units for all classes`,
  adapter: `a low-rank adapter of the features (rank ${adapterRank}) before the generalist's head`,
} as const satisfies Readonly<Record<Kind, string>>;

const shares = [0.1, 0.25, 0.5, 0.75, 1];

/**
 * Trains a head, and makes of it the rivals that can be had of it: as it is, or mixed with the original.
 *
 *     z = (1 - share) z_generalist + share z_trained,   the classes with images raised by the shift
 *
 * @returns of a refitted head two rivals, otherwise one; `dispose` frees what was trained
 */
export async function trainRivals(
  kind: Kind,
  context: RivalContext,
): Promise<{ readonly rivals: readonly Rival[]; readonly fit: FitCost; dispose(): void }> {
  const model = buildHead(kind, context);
  try {
    const fit = await fitHead(model, context);
    const cost = {
      flops: model.flops,
      parameters: model.variables.reduce((sum, { size }) => sum + size, 0),
      trainingSeconds: fit.seconds,
      trainingFlops: fit.flops,
    };
    const leaders: Rival['leaders'] = async (set, variants) => {
      const found = variants.map(() => emptyLeaders(set.rows));
      const { classes } = context.head;
      const mixed = new Float32Array(classes);
      await eachChunk(context, set, model, ({ start, logits, others }) => {
        for (let at = 0, row = start; at < logits.length; at += classes, row++)
          for (const [place, { share = 1 }] of variants.entries()) {
            for (let c = 0; c < classes; c++)
              mixed[c] = (1 - share) * logits[at + c] + share * others[at + c];
            lead(found[place], row, mixed, context.isPictured);
          }
      });
      return found;
    };
    const { dense } = model;
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
      ...(dense && {
        head: async ({ variant: { share = 1 }, shift }) => {
          const trained = await dense();
          const mix = (from: Float32Array, to: Float32Array) =>
            from.map((value, at) => (1 - share) * value + share * to[at]);
          const { head, isPictured } = context;
          const mixed = { weights: mix(head.weights, trained.weights), bias: mix(head.bias, trained.bias) };
          return raised({ ...head, ...mixed }, isPictured, shift);
        },
      }),
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
export function generalistRivals(context: RivalContext): { readonly plain: Rival; readonly prior: Rival } {
  const { head, isPictured } = context;
  const flops = flopsOf(head.width, head.classes);
  const none = { flops, parameters: 0, trainingSeconds: 0, trainingFlops: 0 };
  const leaders: Rival['leaders'] = async (set, variants) => {
    const found = emptyLeaders(set.rows);
    await eachChunk(context, set, undefined, ({ start, logits }) => {
      for (let at = 0, row = start; at < logits.length; at += head.classes, row++)
        lead(found, row, logits.subarray(at, at + head.classes), isPictured);
    });
    return variants.map(() => found);
  };
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

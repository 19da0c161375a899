import type { Operations, Tensor, Tensor1D, Tensor2D, Tensor3D } from '../../compute/operations.js';
import { assert } from '../../core/errors.js';
import { type FoldedLayer, foldedDenseLayers, foldedHead } from '../../models/folded-layers.js';
import { type Network, networkFromTensors } from '../../models/network.js';
import type { NetworkPart } from '../../models/network-definition.js';
import { runNetwork } from '../../models/run-network.js';
import { collapseLogits, firstTrainedPart, type Specialist, type SpecialistConfig } from './specialist.js';

// The networks of all specialists of an ensemble. A batch queries some of them for each image, and most are small: a
// call for each would cost more than what it computes. So networks of the same layers are stacked, and each layer is
// one product over all (image, specialist) pairs, which are sorted by specialist.

/** The inputs of parts of the generalist's network for some images of a batch, (images, ...) each. */
export type SpecialistInputs = Readonly<Partial<Record<NetworkPart, Tensor>>>;

/** The specialists to query: for each, by position, the images of the batch, by row; maybe none. */
export type QueriedImages = readonly (readonly number[])[];

/**
 * The logits of a specialist, by position, for its `place`-th image of {@link QueriedImages}: (s + 1), the dustbin last,
 * before its correction and its anchor. A view, which the caller may write to.
 */
export type LogitsOf = (position: number, place: number) => Float32Array;

/** Specialists whose networks have the same layers, but for the number of classes. */
interface Stack {
  /** The first part of the network that they trained. */
  readonly from: NetworkPart;
  /** (groups), their positions. */
  readonly positions: readonly number[];
  /** ReLU between them: (groups, inputs, units) and (groups, units). The last one's units are the widest head's. */
  readonly layers: readonly { readonly weights: Tensor3D; readonly bias: Tensor2D }[];
}

/** Heads of one stack are at least this share of its widest one: the rest is zeros. */
const leastOfWidest = 0.75;
/** Of one tensor of a stack. */
const mostValues = 2 ** 25;

/** The networks of an ensemble's specialists on a backend. It owns them until `dispose`. */
export class SpecialistNetworks {
  /** By position. */
  readonly members: readonly { readonly config: SpecialistConfig }[];
  /** The parts of the generalist's network whose inputs they take. */
  readonly parts: ReadonlySet<NetworkPart>;
  private readonly operations: Operations;
  private readonly stacks: readonly Stack[];
  /** By position: those that have convolutions of their own, or a softmax over all classes. */
  private readonly alone: ReadonlyMap<number, Network>;

  /** @param specialists their values are copied to the backend, and not kept */
  constructor(operations: Operations, specialists: readonly Specialist[]) {
    this.operations = operations;
    this.members = specialists.map(({ config }) => ({ config }));
    this.parts = new Set(specialists.map(({ config }) => firstTrainedPart[config.retrain]));
    const stackable = [...specialists.keys()].filter((position) => isStackable(specialists[position].config));
    this.stacks = alike(specialists, stackable).map((positions) => stack(operations, specialists, positions));
    this.alone = new Map(
      [...specialists.entries()]
        .filter(([, { config }]) => !isStackable(config))
        .map(([position, { config, values }]) => [
          position,
          networkFromTensors(operations, config.network, values),
        ]),
    );
  }

  /**
   * What specialists predict for the images that they are queried for, read to the host at once.
   *
   * @param chunks the inputs of consecutive images, of each of `parts`
   */
  async logits(chunks: readonly SpecialistInputs[], images: QueriedImages): Promise<LogitsOf> {
    const { operations, stacks, alone } = this;
    /** Where the logits of a specialist begin in all that is read, and how long a row is. */
    const rows = new Map<number, { readonly start: number; readonly width: number }>();
    let size = 0;
    const note = (position: number, width: number) => {
      rows.set(position, { start: size, width });
      size += images[position].length * width;
    };
    if (images.every(({ length }) => length === 0)) return () => new Float32Array();
    const all = operations.tidy(() => {
      const inputs = new Map([...this.parts].map((part) => [part, joined(operations, chunks, part)]));
      const outputs: Tensor2D[] = [];
      for (const { from, positions, layers } of stacks) {
        if (positions.every((position) => images[position].length === 0)) continue;
        const sorted = positions.flatMap((position) => images[position]);
        const counts = Int32Array.from(positions, (position) => images[position].length);
        let x = rowsOfImages(operations, inputs.get(from), sorted) as Tensor2D;
        for (const [index, { weights, bias }] of layers.entries()) {
          const activation = index < layers.length - 1 ? 'relu' : 'none';
          x = operations.groupedDense(x, weights, bias, counts, { activation });
        }
        outputs.push(x);
        for (const position of positions) note(position, x.shape[1]);
      }
      for (const [position, network] of alone) {
        if (images[position].length === 0) continue;
        const { config } = this.members[position];
        const from = firstTrainedPart[config.retrain];
        const own = rowsOfImages(operations, inputs.get(from), images[position]);
        const logits = runNetwork(network, own, { from });
        const inside = config.classes.length;
        outputs.push(config.head === 'full' ? collapseLogits(operations, logits, inside) : logits);
        note(position, inside + 1);
      }
      const flat = outputs.map((output) => operations.reshape(output, [output.size]));
      return flat.length === 1 ? flat[0] : operations.concat<Tensor1D>(flat);
    });
    try {
      const values = await operations.read(all);
      return (position, place) => {
        const { start, width } = rows.get(position) ?? { start: 0, width: 0 };
        const at = start + place * width;
        return values.subarray(at, at + this.members[position].config.classes.length + 1);
      };
    } finally {
      all.dispose();
    }
  }

  /**
   * The layers that a specialist trained, dense ones and, last, its head of s + 1 outputs, copied to the host.
   *
   * @param position of one that retrained no convolutions and has a dustbin
   */
  async layersOf(position: number): Promise<readonly FoldedLayer[]> {
    const { operations } = this;
    const own = this.stacks.find(({ positions }) => positions.includes(position));
    assert(own !== undefined, `specialist ${position} is not of dense layers and a dustbin`);
    const group = own.positions.indexOf(position);
    const read = async (tensor: Tensor) => {
      const row = operations.rowRange(tensor, group, 1);
      try {
        return await operations.read(row);
      } finally {
        row.dispose();
      }
    };
    const layers: FoldedLayer[] = [];
    for (const { weights, bias } of own.layers)
      layers.push({ weights: await read(weights), bias: await read(bias) });
    const head = layers.at(-1);
    assert(head !== undefined, 'a network has a head');
    return [...layers.slice(0, -1), narrowed(head, this.members[position].config.classes.length + 1)];
  }

  dispose(): void {
    for (const { layers } of this.stacks)
      for (const { weights, bias } of layers) this.operations.dispose([weights, bias]);
    for (const network of this.alone.values()) network.dispose();
  }
}

/** Convolutions are not rows times a matrix, and a head over all classes is another specialist's in another order. */
const isStackable = ({ head, retrain }: SpecialistConfig) => head !== 'full' && retrain !== 'all';

/** The layers that a stackable specialist trained. */
function ownLayers({ config, values }: Specialist): readonly FoldedLayer[] {
  return config.retrain === 'head' ? [foldedHead(values)] : foldedDenseLayers(config.network, values);
}

/** Sorts and splits specialists into lists of those to stack: of the same layers, and of heads of nearly one width. */
function alike(specialists: readonly Specialist[], positions: readonly number[]): readonly number[][] {
  const configOf = (position: number) => specialists[position].config;
  const headOf = (position: number) => specialists[position].values.get('head.weights')?.values.length ?? 0;
  const kindOf = (position: number) => {
    const { retrain, network } = configOf(position);
    return JSON.stringify([retrain, network.input, network.convolutions, network.dense]);
  };
  const widths = positions.map((position) => [position, configOf(position).classes.length + 1] as const);
  const open = new Map<string, { readonly widest: number; readonly list: number[] }>();
  const lists: number[][] = [];
  for (const [position, width] of widths.sort(([a, wide], [b, wider]) => wider - wide || a - b)) {
    const kind = kindOf(position);
    const last = open.get(kind);
    const fits =
      last !== undefined &&
      width >= leastOfWidest * last.widest &&
      (last.list.length + 1) * headOf(last.list[0]) <= mostValues;
    if (fits) last.list.push(position);
    else {
      const list = [position];
      lists.push(list);
      open.set(kind, { widest: width, list });
    }
  }
  return lists;
}

function stack(
  operations: Operations,
  specialists: readonly Specialist[],
  positions: readonly number[],
): Stack {
  const networks = positions.map((position) => ownLayers(specialists[position]));
  const groups = positions.length;
  const layers = networks[0].map((widest, index) => {
    const units = widest.bias.length; // the first one's head is the widest
    const inputs = widest.weights.length / units;
    const weights = new Float32Array(groups * inputs * units);
    const bias = new Float32Array(groups * units);
    for (const [group, network] of networks.entries()) {
      const own = network[index];
      const width = own.bias.length;
      bias.set(own.bias, group * units);
      for (let input = 0; input < inputs; input++) {
        const row = own.weights.subarray(input * width, (input + 1) * width);
        weights.set(row, (group * inputs + input) * units);
      }
    }
    return {
      weights: operations.tensor(weights, [groups, inputs, units]),
      bias: operations.tensor(bias, [groups, units]),
    };
  });
  return { from: firstTrainedPart[specialists[positions[0]].config.retrain], positions, layers };
}

/** The first outputs of a layer. */
function narrowed({ weights, bias }: FoldedLayer, outputs: number): FoldedLayer {
  const width = bias.length;
  const inputs = weights.length / width;
  const narrow = new Float32Array(inputs * outputs);
  for (let input = 0; input < inputs; input++)
    narrow.set(weights.subarray(input * width, input * width + outputs), input * outputs);
  return { weights: narrow, bias: bias.slice(0, outputs) };
}

/** The inputs of consecutive chunks as one tensor, (batch, ...). */
function joined(operations: Operations, chunks: readonly SpecialistInputs[], part: NetworkPart): Tensor {
  const pieces = chunks.flatMap((inputs) => inputs[part] ?? []);
  return pieces.length === 1 ? pieces[0] : operations.concat(pieces);
}

/** The rows of a tensor (batch, ...) that belong to some images. */
function rowsOfImages(operations: Operations, batch: Tensor | undefined, images: readonly number[]): Tensor {
  assert(batch !== undefined, 'specialists take inputs of parts that were kept');
  const [count, ...shape] = batch.shape;
  const indices = operations.tensor(Int32Array.from(images), [images.length]);
  const rows = operations.gatherRows(operations.reshape(batch, [count, batch.size / count]), indices);
  return operations.reshape(rows, [images.length, ...shape]);
}

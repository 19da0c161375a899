import type { Operations, Tensor, Variable } from '../compute/operations.js';
import { assert } from '../core/errors.js';
import type { Network } from '../models/network.js';
import { type NetworkPart, networkParts, networkTensors } from '../models/network-definition.js';
import type { HostTensor } from '../models/safetensors.js';
import type { OptimizerKind } from './optimizer-kind.js';
import {
  createHeadRows,
  decayRows,
  type HeadRows,
  headTensors,
  type RowStep,
  readHead,
  restoreRowHistory,
  rowHistory,
} from './sampled-head/head-rows.js';

const sgdMomentum = 0.9;

/** One trained tensor with the optimiser's memory of it. */
interface TrainedTensor {
  readonly name: string;
  readonly parameter: Variable;
  readonly isDecayed: boolean;
  /** AdamW: first and second moment; SGD: velocity. */
  readonly moments: readonly Variable[];
}

/**
 * AdamW (Loshchilov and Hutter 2019) or SGD with Nesterov momentum, over the trained parts of a network.
 * Weight decay is decoupled and falls on weights alone, not on biases and normalisation.
 */
export class Optimizer {
  /** The dense ones, which `apply` updates. */
  readonly parameters: readonly Variable[];
  /** The head, when a sampled softmax trains it; the network's own head is then old until `storeHead`. */
  readonly headRows: HeadRows | undefined;
  private readonly network: Network;
  private readonly kind: OptimizerKind;
  private readonly trained: readonly TrainedTensor[];

  /**
   * @param from the first part of the network that is trained; the parts before it stay as they are
   * @param options.sampledHead whether the head is trained row by row
   */
  constructor(
    kind: OptimizerKind,
    network: Network,
    from: NetworkPart,
    { sampledHead = false }: { readonly sampledHead?: boolean } = {},
  ) {
    const first = networkParts.indexOf(from);
    this.kind = kind;
    this.network = network;
    this.headRows = sampledHead ? createHeadRows(kind, network) : undefined;
    this.trained = networkTensors(network.definition)
      .filter(({ part, role }) => role !== 'statistic' && networkParts.indexOf(part) >= first)
      .filter(({ part }) => !(sampledHead && part === 'head'))
      .map(({ name, shape, role }) => ({
        name,
        parameter: network.variable(name),
        isDecayed: role === 'weights',
        moments: Array.from({ length: kind === 'adamw' ? 2 : 1 }, () => zeros(network.operations, shape)),
      }));
    this.parameters = this.trained.map(({ parameter }) => parameter);
  }

  /**
   * Updates every parameter in place.
   *
   * @param gradients in the order of `parameters`
   * @param step 0 for the first; Adam's bias correction depends on it
   */
  apply(
    gradients: readonly Tensor[],
    { step, learningRate, weightDecay }: { step: number; learningRate: number; weightDecay: number },
  ): void {
    const { operations } = this.network;
    for (const [index, { parameter, isDecayed, moments }] of this.trained.entries()) {
      const gradient = gradients[index];
      const decay = isDecayed ? weightDecay : 0;
      const [first, second] = moments;
      if (this.kind === 'adamw') {
        operations.adamWStep(
          parameter,
          gradient,
          { first, second },
          { learningRate, weightDecay: decay, step: step + 1 },
        );
      } else {
        operations.sgdStep(parameter, gradient, first, {
          learningRate,
          momentum: sgdMomentum,
          weightDecay: decay,
          nesterov: true,
        });
      }
    }
  }

  /** Copies the network's head into the rows: before the first step of a sitting. */
  async loadHead(): Promise<void> {
    if (!this.headRows) return;
    const [weights, bias] = await Promise.all(
      ['head.weights', 'head.bias'].map((name) => this.network.operations.read(this.network.variable(name))),
    );
    readHead(this.headRows, weights, bias);
  }

  /** Copies the rows into the network's head. */
  storeHead(): void {
    if (!this.headRows) return;
    const { weights, bias } = headTensors(this.headRows);
    this.network.assign(
      new Map([
        ['head.weights', weights],
        ['head.bias', bias],
      ]),
    );
  }

  /** Gives every row of the head the weight decay that it has not had yet, and the network the head. */
  finishHead(step: RowStep): void {
    if (this.headRows) decayRows(this.headRows, step);
    this.storeHead();
  }

  /** Whether every trained parameter is finite. A ReLU may hide one that is not from the loss. */
  async parametersAreFinite(): Promise<boolean> {
    if (this.headRows && !this.headRows.values.every(Number.isFinite)) return false;
    return this.network.operations.areFinite(this.parameters);
  }

  /** The optimiser's state, copied to JavaScript. */
  async values(): Promise<Map<string, HostTensor>> {
    const values = new Map<string, HostTensor>();
    for (const { name, moments } of this.trained) {
      for (const [index, moment] of moments.entries()) {
        const data = await this.network.operations.read(moment);
        values.set(`${name}.moment${index}`, { shape: moment.shape, values: data });
      }
    }
    if (this.headRows) for (const [name, tensor] of rowHistory(this.headRows)) values.set(name, tensor);
    return values;
  }

  /** Puts a state back that `values` returned. */
  restore(values: ReadonlyMap<string, HostTensor>): void {
    for (const { name, moments } of this.trained) {
      for (const [index, moment] of moments.entries()) {
        const value = values.get(`${name}.moment${index}`);
        assert(value !== undefined, `the optimiser's state has no "${name}.moment${index}"`);
        this.network.operations.assign(moment, Float32Array.from(value.values));
      }
    }
    if (this.headRows) restoreRowHistory(this.headRows, values);
  }

  dispose(): void {
    for (const { moments } of this.trained) for (const moment of moments) moment.dispose();
  }
}

function zeros(operations: Operations, shape: readonly number[]): Variable {
  return operations.variable(new Float32Array(shape.reduce((product, extent) => product * extent, 1)), shape);
}

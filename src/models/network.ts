import type { Operations, Tensor, Variable } from '../compute/operations.js';
import { assert, KdSpecError } from '../core/errors.js';
import type { Random } from '../core/random.js';
import type { Backbone } from './backbone.js';
import type { ImageBatch, InputSpec } from './classifier.js';
import { type NetworkDefinition, networkTensors } from './network-definition.js';
import type { HostTensor } from './safetensors.js';

/**
 * A network's definition with its values on a backend; it owns the variables, and its backbone, until `dispose`.
 *
 * A network stands on a backbone when its lower layers are not its own: its input is then what the backbone makes of
 * images, (1, features, 1), and it has no convolutions.
 */
export class Network {
  readonly operations: Operations;
  readonly definition: NetworkDefinition;
  readonly variables: ReadonlyMap<string, Variable>;
  readonly backbone: Backbone | undefined;

  constructor(
    operations: Operations,
    definition: NetworkDefinition,
    variables: ReadonlyMap<string, Variable>,
    backbone?: Backbone,
  ) {
    this.operations = operations;
    this.definition = definition;
    this.variables = variables;
    this.backbone = backbone;
  }

  /** The images that it classifies. */
  get images(): InputSpec {
    return this.backbone?.input ?? { kind: 'images', image: this.definition.input };
  }

  /**
   * A batch as the network takes it.
   *
   * @returns (batch, height, width, channels) of `definition.input`: the images, or what the backbone makes of them
   */
  async inputsOf(batch: ImageBatch): Promise<Float32Array> {
    return this.backbone ? this.backbone.features(batch) : batch.images;
  }

  /**
   * Where the network is a model that was patched before, what its earlier specialists make of its predictions: newer ones
   * are fused with this instead.
   *
   * @returns (batch, classes)
   */
  async fusedBefore(batch: ImageBatch): Promise<Float32Array | undefined> {
    return this.backbone?.fusedBefore?.(batch);
  }

  /** The variable of that name; its rank follows from the name. */
  variable<T extends Tensor>(name: string): Variable<T> {
    const variable = this.variables.get(name);
    assert(variable !== undefined, `the network has no tensor "${name}"`);
    return variable as Variable<T>;
  }

  /** Replaces the values of tensors by name. */
  assign(values: ReadonlyMap<string, HostTensor>): void {
    for (const [name, { shape, values: data }] of values) {
      const variable = this.variable(name);
      assert(
        variable.shape.join() === shape.join(),
        `tensor "${name}" has shape [${variable.shape}], not [${shape}]`,
      );
      this.operations.assign(variable, asFloats(data));
    }
  }

  dispose(): void {
    for (const variable of this.variables.values()) variable.dispose();
    this.backbone?.dispose();
  }
}

const wasmValues = 2 ** 30; // 4 GiB of float32: what one WebAssembly memory can hold

/**
 * Refuses what the memory of a backend cannot hold, before anything is computed.
 *
 * @param backend its name; WebAssembly alone has a limit that is known beforehand
 * @param values numbers that are held at once, about
 * @param options.what needs them, and what helps
 * @throws KdSpecError `option-invalid`
 */
export function expectRoom(
  backend: string,
  values: number,
  { what, advice }: { readonly what: string; readonly advice: string },
): void {
  if (backend !== 'wasm' || values <= wasmValues) return;
  const gigabytes = (numbers: number) => `${((4 * numbers) / 2 ** 30).toFixed(1)} GiB`;
  throw new KdSpecError(
    'option-invalid',
    `${what} takes about ${gigabytes(values)}, and WebAssembly holds ${gigabytes(wasmValues)}: ${advice}`,
  );
}

/** A network with fresh weights. */
export function createNetwork(
  operations: Operations,
  definition: NetworkDefinition,
  random: Random,
): Network {
  return networkFromTensors(operations, definition, freshValues(definition, random));
}

/** Fresh weights: He-normal before a ReLU, and a head that starts near the uniform distribution. */
export function freshValues(definition: NetworkDefinition, random: Random): Map<string, HostTensor> {
  const values = new Map<string, HostTensor>();
  for (const { name, shape, part, role } of networkTensors(definition)) {
    const tensor = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
    if (role === 'weights') {
      const fanIn = tensor.length / (shape.at(-1) ?? 1);
      const deviation = Math.sqrt((part === 'head' ? 1 : 2) / fanIn);
      for (let index = 0; index < tensor.length; index++) tensor[index] = deviation * random.normal();
    } else if (name.endsWith('.scale') || name.endsWith('.variance')) {
      tensor.fill(1);
    }
    values.set(name, { shape, values: tensor });
  }
  return values;
}

/** A network with given values. `values` holds exactly the tensors of `networkTensors(definition)`. */
export function networkFromTensors(
  operations: Operations,
  definition: NetworkDefinition,
  values: ReadonlyMap<string, HostTensor>,
  backbone?: Backbone,
): Network {
  const variables = new Map<string, Variable>();
  for (const { name, shape } of networkTensors(definition)) {
    const value = values.get(name);
    assert(
      value?.shape.join() === shape.join(),
      `tensor "${name}" has shape [${value?.shape}], not [${shape}]`,
    );
    variables.set(name, operations.variable(asFloats(value.values), shape));
  }
  return new Network(operations, definition, variables, backbone);
}

/**
 * A network with another head, also of one that copies logits.
 *
 * @param network is no longer to be used: its variables and its backbone are those of the new one, but for its head's, which
 *   are freed
 * @param head weights (features, outputs) and bias (outputs)
 */
export function networkWithHead(
  { operations, definition, variables, backbone }: Network,
  head: { readonly weights: Float32Array; readonly bias: Float32Array },
): Network {
  const changed = { ...definition, copiesLogits: undefined };
  const own = new Map(variables);
  const values = [head.weights, head.bias];
  const ofHead = networkTensors(changed).filter(({ part }) => part === 'head');
  for (const [at, { name, shape }] of ofHead.entries()) {
    variables.get(name)?.dispose();
    own.set(name, operations.variable(values[at], shape));
  }
  return new Network(operations, changed, own, backbone);
}

const asFloats = (values: HostTensor['values']) =>
  values instanceof Float32Array ? values : Float32Array.from(values);

/** The present values of a network, copied to JavaScript; of very many classes, most of them are its head's. */
export async function networkValues(
  network: Network,
  { withHead = true }: { readonly withHead?: boolean } = {},
): Promise<Map<string, HostTensor>> {
  const values = new Map<string, HostTensor>();
  for (const { name, shape, part } of networkTensors(network.definition)) {
    if (part === 'head' && !withHead) continue;
    values.set(name, { shape, values: await network.operations.read(network.variable(name)) });
  }
  return values;
}

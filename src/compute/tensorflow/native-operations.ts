import type * as tf from '@tensorflow/tfjs';
import { assert } from '../../core/errors.js';

/** An attribute of one of TensorFlow's operations. */
export interface Attribute {
  readonly name: string;
  readonly kind: 'type' | 'int' | 'float' | 'bool' | 'string' | 'shape';
  readonly value: unknown;
}

/** TensorFlow's own operations, by their names and attributes in its registry. */
export interface NativeOperations {
  /** Runs an operation; the tensors it makes belong to the caller's scope. */
  run(
    name: string,
    attributes: readonly Attribute[],
    inputs: readonly tf.Tensor[],
    outputs: number,
  ): tf.Tensor[];
  /** Runs an operation with one output. */
  one(name: string, attributes: readonly Attribute[], inputs: readonly tf.Tensor[]): tf.Tensor;
  /** Lets go of a variable's value if nothing else holds it, before the variable is assigned a new one. */
  release(variable: tf.Variable): void;
  /** Whether they compute on a GPU. */
  readonly usesGpu: boolean;
}

// The part of tfjs-node's backend that this file stands on; kd-spec is built without its type declarations.
interface NodeBackend {
  readonly isUsingGpuDevice: boolean;
  readonly binding: Readonly<Record<string, number>>;
  executeMultipleOutputs(
    name: string,
    attributes: readonly { name: string; type: number; value: unknown }[],
    inputs: readonly tf.Tensor[],
    outputs: number,
  ): tf.Tensor[];
  refCount(dataId: object): number;
  disposeData(dataId: object): boolean;
}

export const float32: Attribute = { name: 'T', kind: 'type', value: 'float32' };
export const types = (name: string, value: 'float32' | 'int32'): Attribute => ({ name, kind: 'type', value });
export const int = (name: string, value: number | readonly number[]): Attribute => ({
  name,
  kind: 'int',
  value,
});
export const float = (name: string, value: number): Attribute => ({ name, kind: 'float', value });
export const bool = (name: string, value: boolean): Attribute => ({ name, kind: 'bool', value });
export const string = (name: string, value: string): Attribute => ({ name, kind: 'string', value });
export const shape = (name: string, value: readonly number[]): Attribute => ({ name, kind: 'shape', value });

/**
 * TensorFlow's operations on a backend.
 *
 * @param backend tfjs-node's, in the version that `npm run native` builds
 */
export function createNativeOperations(backend: object): NativeOperations {
  assert(isNodeBackend(backend), "tfjs-node's backend is not the one that kd-spec knows: npm run native");
  const { binding } = backend;
  const dataTypes = { float32: binding.TF_FLOAT, int32: binding.TF_INT32 };
  const kinds = {
    type: binding.TF_ATTR_TYPE,
    int: binding.TF_ATTR_INT,
    float: binding.TF_ATTR_FLOAT,
    bool: binding.TF_ATTR_BOOL,
    string: binding.TF_ATTR_STRING,
    shape: binding.TF_ATTR_SHAPE,
  };

  const run: NativeOperations['run'] = (name, attributes, inputs, outputs) =>
    backend.executeMultipleOutputs(
      name,
      attributes.map(({ name, kind, value }) => ({
        name,
        type: kinds[kind],
        value: kind === 'type' ? dataTypes[value as keyof typeof dataTypes] : value,
      })),
      inputs,
      outputs,
    );

  return {
    usesGpu: backend.isUsingGpuDevice,
    run,
    one: (name, attributes, inputs) => run(name, attributes, inputs, 1)[0] as tf.Tensor,
    release(variable) {
      if (backend.refCount(variable.dataId) === 1) backend.disposeData(variable.dataId);
    },
  };
}

const members = ['executeMultipleOutputs', 'refCount', 'disposeData'] as const;

function isNodeBackend(backend: object): backend is NodeBackend {
  return 'binding' in backend && members.every((name) => typeof Reflect.get(backend, name) === 'function');
}

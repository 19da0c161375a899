import * as tf from '@tensorflow/tfjs';
import { type Attribute, type NativeOperations, shape, string, types } from './native-operations.js';

/**
 * Runs one of TensorFlow's optimiser operations, which update resource variables in one pass over memory.
 *
 * The values of the tf.Variables are lent to resource variables and read back. A value that nobody else holds is
 * updated where it lies; TensorFlow copies one that is shared.
 *
 * @param name the operation; its first inputs are the resource variables
 * @param variables get new values; all of one shape
 * @param inputs what the operation takes after its variables
 */
export function updateInPlace(
  native: NativeOperations,
  name: string,
  variables: readonly tf.Variable[],
  inputs: readonly tf.Tensor[],
  attributes: readonly Attribute[],
): void {
  const lent = variables.map((variable, index) => {
    const resource = resourceVariable(native, index);
    native.run('AssignVariableOp', [types('dtype', 'float32')], [resource, variable], 0);
    native.release(variable);
    return resource;
  });
  native.run(name, attributes, [...lent, ...inputs], 0);
  variables.forEach((variable, index) => {
    const value = native.one('ReadVariableOp', [types('dtype', 'float32')], [lent[index] as tf.Tensor]);
    variable.assign(value);
    value.dispose();
  });
}

const resourceVariables = new WeakMap<NativeOperations, tf.Tensor[]>();

/** The few resource variables that serve all parameters in turn; they hold the values of the last one. */
function resourceVariable(native: NativeOperations, index: number): tf.Tensor {
  const made = resourceVariables.get(native) ?? [];
  resourceVariables.set(native, made);
  made[index] ??= tf.keep(
    native.one(
      'VarHandleOp',
      [
        types('dtype', 'float32'),
        shape('shape', []),
        string('container', ''),
        string('shared_name', `kd-spec-lent-${index}`),
      ],
      [],
    ),
  );
  return made[index];
}

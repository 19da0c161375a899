import * as tf from '@tensorflow/tfjs';
import type { Kernels } from '../tensorflow-js/kernels.js';
import {
  type Attribute,
  bool,
  float32,
  type NativeOperations,
  shape,
  string,
  types,
} from './native-operations.js';

/**
 * One step of AdamW by TensorFlow's ResourceApplyAdam.
 *
 * It computes `w -= r m / (sqrt(v) + e)`. With `c = sqrt(1 - b2^step)`, `r = learningRate c / (1 - b1^step)` and
 * `e = c epsilon` this is the step of the paper; both are computed here, in double precision.
 */
export const adamWStepBy =
  (native: NativeOperations): Kernels['adamWStep'] =>
  (parameter, gradient, moments, { learningRate, beta1, beta2, epsilon, weightDecay, step }) => {
    decay(parameter, learningRate * weightDecay);
    const correction = Math.sqrt(1 - beta2 ** step);
    const rate = (learningRate * correction) / (1 - beta1 ** step);
    // beta1_power, beta2_power, lr, beta1, beta2, epsilon; with powers of zero the operation corrects nothing.
    const scalars = [0, 0, rate, beta1, beta2, epsilon * correction].map((value) => tf.scalar(value));
    updateInPlace(
      native,
      'ResourceApplyAdam',
      [parameter, moments.first, moments.second],
      [...scalars, gradient],
      [float32, bool('use_locking', false), bool('use_nesterov', false)],
    );
  };

/** One step of SGD with momentum by TensorFlow's ResourceApplyMomentum. */
export const sgdStepBy =
  (native: NativeOperations): Kernels['sgdStep'] =>
  (parameter, gradient, velocity, { learningRate, momentum, weightDecay, nesterov }) => {
    decay(parameter, learningRate * weightDecay);
    updateInPlace(
      native,
      'ResourceApplyMomentum',
      [parameter, velocity],
      [tf.scalar(learningRate), gradient, tf.scalar(momentum)],
      [float32, bool('use_locking', false), bool('use_nesterov', nesterov)],
    );
  };

/** The share of decoupled weight decay; the steps above do not touch the parameter before they change it. */
function decay(parameter: tf.Variable, share: number): void {
  if (share > 0) parameter.assign(tf.mul(parameter, 1 - share));
}

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
function updateInPlace(
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

import type * as tf from '@tensorflow/tfjs';
import { assert } from '../../core/errors.js';

/**
 * Asserts that a tensor holds single-precision numbers in the shape that an operation is about to read.
 *
 * The kernels compute addresses from shapes, so a wrong one would read, or write, the memory of other tensors.
 *
 * @param what the operation and its argument, for the message
 * @param expected an extent for each axis; a name stands for any extent
 * @throws Error when the rank, an extent or the type differs: a defect of the caller
 */
export function assertShape(what: string, tensor: tf.Tensor, expected: readonly (number | string)[]): void {
  const { shape, dtype } = tensor;
  const agrees =
    shape.length === expected.length &&
    expected.every((extent, axis) => typeof extent === 'string' || extent === shape[axis]);
  // The message is put together only when it is needed: operations check on every call.
  if (!agrees) assert(false, `${what} must have shape [${expected.join(', ')}], not [${shape.join(', ')}]`);
  if (dtype !== 'float32') assert(false, `${what} must be float32, not ${dtype}`);
}

/**
 * Asserts that a tensor is a list of 32-bit integers, such as labels or indices.
 *
 * @throws Error when the rank, the length or the type differs: a defect of the caller
 */
export function assertIntegers(what: string, tensor: tf.Tensor, length: number | string): void {
  const { shape, dtype } = tensor;
  const agrees = shape.length === 1 && (typeof length === 'string' || shape[0] === length);
  if (!agrees) assert(false, `${what} must have shape [${length}], not [${shape.join(', ')}]`);
  if (dtype !== 'int32') assert(false, `${what} must be int32, not ${dtype}`);
}

/** Asserts that a tensor has channels on its last axis, and returns how many. */
export function channelsOf(what: string, tensor: tf.Tensor): number {
  const channels = tensor.shape.at(-1);
  if (channels === undefined) assert(false, `${what} must have channels on its last axis, not shape []`);
  if (tensor.dtype !== 'float32') assert(false, `${what} must be float32, not ${tensor.dtype}`);
  return channels;
}

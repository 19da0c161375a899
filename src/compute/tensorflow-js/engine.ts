import * as tf from '@tensorflow/tfjs';
import { assert } from '../../core/errors.js';

// TensorFlow.js has one engine for a whole process, with one backend in force. A program that computes with it itself
// has chosen that backend; ours is in force while one of our operations runs, and no longer.

/** The backend that we left in force, since nobody had chosen one. */
let ours: string | undefined;

/**
 * Runs a synchronous function with a backend in force, and then puts back the one that the program has chosen.
 *
 * Setting a backend that has been initialised takes effect at once. Nested calls cost a comparison.
 *
 * @param name as it is registered with TensorFlow.js, and initialised
 */
export function withBackend<T>(name: string, run: () => T): T {
  const host = tf.getBackend();
  if (host === name) return run();
  if (!host || host === ours) {
    claim(name);
    return run();
  }
  put(name);
  try {
    return run();
  } finally {
    put(host);
  }
}

/** Leaves a backend in force, where the program has chosen none. */
export function claim(name: string): void {
  put(name);
  ours = name;
}

function put(name: string): void {
  void tf.setBackend(name);
  assert(tf.getBackend() === name, `TensorFlow.js did not switch to ${name} at once`);
}

/**
 * Initialises a registered backend without putting it in force.
 *
 * @returns undefined when TensorFlow.js cannot start it
 */
export async function initialise(name: string): Promise<tf.KernelBackend | undefined> {
  const there = tf.findBackend(name); // starts it
  if (there) return there;
  await tf.ready(); // waits for what was started
  return tf.findBackend(name) ?? undefined;
}

/** The cpu backend, which shape bookkeeping may touch, advertises tfjs-node on its first use. */
export function silenceHint(): void {
  const cpu = tf.findBackend('cpu');
  if (cpu && 'firstUse' in cpu) cpu.firstUse = false;
}

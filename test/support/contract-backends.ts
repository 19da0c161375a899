import { type BackendName, describeBackends } from '../../src/compute/backend.js';
import { assert } from '../../src/core/errors.js';

/**
 * The backends that every test of the contract runs on: wasm, and native TensorFlow where it is there,
 * or the one that `TEST_NATIVE` names.
 *
 * One that is named must be there; without a name TensorFlow is left out where it is missing.
 * A process can hold one build of TensorFlow, and Dawn wants one of its own, so that there is one at a time.
 */
export async function contractBackends(): Promise<readonly BackendName[]> {
  const required = process.env.TEST_NATIVE as BackendName | undefined;
  const wanted = required ?? 'tensorflow';
  const native = (await describeBackends()).find(({ name }) => name === wanted);
  if (required) {
    assert(native !== undefined, `TEST_NATIVE names no backend: ${required}`);
    assert(native.available, `TEST_NATIVE wants ${required}, but: ${native.reason}`);
  }
  return native?.available ? ['wasm', wanted] : ['wasm'];
}

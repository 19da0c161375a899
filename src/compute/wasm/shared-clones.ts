import * as tf from '@tensorflow/tfjs';

/**
 * Lets the wasm backend's clones share memory with what they are clones of, as on every other backend.
 *
 * The backend's own Identity kernel copies, and TensorFlow.js clones each tensor that a gradient will need: in a
 * convolutional network that was a twentieth of a training step. Memory is counted by references, as for Reshape.
 * Code that writes into a tensor in place checks first that it is not shared: `Heap.own`.
 */
export function shareClones(): void {
  if (tf.getKernel('Identity', 'wasm')?.kernelFunc === share) return;
  tf.unregisterKernel('Identity', 'wasm');
  tf.registerKernel({ kernelName: 'Identity', backendName: 'wasm', kernelFunc: share });
}

const share: tf.KernelFunc = ({ inputs, backend }) => {
  const { x } = inputs as { x: tf.TensorInfo };
  (backend as tf.KernelBackend).incRef(x.dataId);
  return { dataId: x.dataId, shape: x.shape, dtype: x.dtype };
};

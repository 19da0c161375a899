import * as tf from '@tensorflow/tfjs';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import type { Operations } from '../operations.js';
import { claim, initialise, silenceHint } from '../tensorflow-js/engine.js';
import { type Kernels, plainKernels } from '../tensorflow-js/kernels.js';
import { createOperations } from '../tensorflow-js/operations.js';
import { batchNormaliseOn, normaliseOn } from './batch-normalise.js';
import { conv2dOn } from './conv2d.js';
import { denseOn } from './dense.js';
import { geometricMeanOn } from './geometric-mean.js';
import { groupedDenseOn } from './grouped-dense.js';
import { createHeap, type Heap } from './heap.js';
import { softmaxCrossEntropyOn, softTargetCrossEntropyOn } from './losses.js';
import { maxPool2dOn } from './max-pool2d.js';
import { adamWStepOn, sgdStepOn } from './optimizer-step.js';
import { firstLargestOn, gatherRowsOn, rowLogSumExpsOn, rowRangeOn, valuesInPlaceOn } from './rows.js';
import { shareClones } from './shared-clones.js';

/**
 * Starts TensorFlow.js's wasm backend and puts our kernels on it.
 *
 * @param folder where its WebAssembly lies, with a separator at the end
 */
export async function startWasm(folder: string): Promise<Operations | { readonly missing: string }> {
  silenceHint();
  if (!('wasm' in tf.engine().registry)) setWasmPaths(folder); // else the program has started it
  const backend = await initialise('wasm');
  if (!backend) return { missing: 'TensorFlow.js could not start it' };
  if (!(await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')))
    return { missing: 'this Node lacks WebAssembly SIMD' };
  shareClones();
  if (!tf.getBackend()) claim('wasm');
  const heap = createHeap(backend);
  return createOperations({ name: 'wasm', registered: 'wasm', kernels: kernelsOn(heap) });
}

/**
 * The kernels of this folder.
 *
 * @internal the profile of a training step wraps them
 */
export function kernelsOn(heap: Heap): Kernels {
  return {
    ...plainKernels,
    read: (tensor) => tensor.data<'float32'>(), // a copy of what lies on the heap
    rowRange: rowRangeOn(heap),
    rowLogSumExps: rowLogSumExpsOn(heap),
    gatherRows: gatherRowsOn(heap),
    firstLargest: firstLargestOn(heap),
    valuesInPlace: valuesInPlaceOn(heap),
    geometricMean: geometricMeanOn(heap),
    conv2d: conv2dOn(heap),
    dense: denseOn(heap),
    groupedDense: groupedDenseOn(heap),
    maxPool2d: maxPool2dOn(heap),
    batchNormalise: batchNormaliseOn(heap),
    normalise: normaliseOn(heap),
    softmaxCrossEntropy: softmaxCrossEntropyOn(heap),
    softTargetCrossEntropy: softTargetCrossEntropyOn(heap),
    adamWStep: adamWStepOn(heap),
    sgdStep: sgdStepOn(heap),
  };
}

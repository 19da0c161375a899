import { type Kernels, plainKernels } from '../tensorflow-js/kernels.js';
import { geometricMeanOnHost } from '../wasm/geometric-mean.js';
import type { Gpu } from './gpu.js';
import { groupedDenseOn } from './grouped-dense.js';
import { conv2dOn, denseOn } from './layers.js';
import { softmaxCrossEntropyOn, softTargetCrossEntropyOn } from './losses.js';
import { adamWStepOn, sgdStepOn } from './optimizer-step.js';
import { areFiniteOn, gatherRowsOn } from './rows.js';

/** The kernels of this folder; the rest is TensorFlow.js's own. */
export function kernelsOn(gpu: Gpu): Kernels {
  return {
    ...plainKernels,
    read: (tensor) => gpu.read(tensor),
    async firstLargest(matrix) {
      const columns = await plainKernels.firstLargest(matrix);
      gpu.check();
      return columns;
    },
    areFinite: areFiniteOn(gpu),
    gatherRows: gatherRowsOn(gpu),
    geometricMean: geometricMeanOnHost,
    conv2d: conv2dOn(gpu),
    dense: denseOn(gpu),
    groupedDense: groupedDenseOn(gpu),
    softmaxCrossEntropy: softmaxCrossEntropyOn(gpu),
    softTargetCrossEntropy: softTargetCrossEntropyOn(gpu),
    adamWStep: adamWStepOn(gpu),
    sgdStep: sgdStepOn(gpu),
  };
}

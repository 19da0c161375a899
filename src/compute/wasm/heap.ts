import * as tf from '@tensorflow/tfjs';
import { assert } from '../../core/errors.js';
import { assemble } from './assembler.js';
import { columnGradientSums, columnSquares, columnSums, mixColumns, scaleColumns } from './column-kernels.js';
import { denseRows } from './dense-rows-kernel.js';
import { adamW, scale, sgd } from './elementwise-kernels.js';
import { firstLargest } from './first-largest-kernel.js';
import { geometricMean } from './geometric-mean-kernel.js';
import { multiplyPacked, packLeft, productRoom } from './product-kernels.js';
import { softmaxGradient, softmaxStatistics } from './softmax-kernels.js';
import { fold, maxPool, maxPoolPairs, unfold } from './spatial-kernels.js';

const kernels = [
  adamW,
  sgd,
  columnSums,
  columnSquares,
  scaleColumns,
  columnGradientSums,
  mixColumns,
  softmaxStatistics,
  softmaxGradient,
  maxPool,
  maxPoolPairs,
  unfold,
  fold,
  packLeft,
  multiplyPacked,
  denseRows,
  geometricMean,
  scale,
  firstLargest,
];

/** The kernels at work on the memory of TensorFlow.js's wasm backend. */
export interface Heap {
  /** Runs a kernel by name, its arguments in the order of its definition. */
  call(kernel: string, ...parameters: readonly number[]): void;
  /** Where the values of a tensor lie, in bytes. */
  address(tensor: tf.Tensor): number;
  /** The values themselves; the view is good until the next allocation. */
  values(tensor: tf.Tensor): Float32Array | Int32Array;
  /** Where `productRoom` bytes lie that any call may overwrite. */
  readonly room: number;
  /** That memory; the view is good until the next allocation, after which its length is 0 or it goes on. */
  roomValues(): Float32Array;
  /** Gives a variable memory of its own, which may then be written in place, if it shares its memory. */
  own(variable: tf.Variable): void;
  /** A new tensor with arbitrary content. */
  allocate(shape: readonly number[]): tf.Tensor;
  /** A new tensor of zeros. */
  zeros(shape: readonly number[]): tf.Tensor;
}

// The part of the wasm backend that this file stands on; none of it is in TensorFlow.js's type declarations.
interface WasmBackend {
  readonly wasm: {
    readonly asm: { readonly memory: { readonly buffer: ArrayBuffer } };
    _malloc(bytes: number): number;
  };
  readonly dataIdMap: { get(dataId: object): { readonly memoryOffset: number; readonly refCount: number } };
  makeOutput(shape: readonly number[], dtype: string): tf.TensorInfo;
}

// TypeScript's library for Node has no types for WebAssembly.
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: object,
  ) => { readonly exports: Readonly<Record<string, (...parameters: readonly number[]) => void>> };
};

/**
 * The kernels of this folder on the memory of a backend.
 *
 * @param candidate TensorFlow.js's wasm backend, in the version that this package depends on
 */
export function createHeap(candidate: object): Heap {
  assert(isWasmBackend(candidate), "TensorFlow.js's wasm backend is not the one that kd-spec knows: npm ci");
  const backend: WasmBackend = candidate;
  const { memory } = backend.wasm.asm;
  const module = new WebAssembly.Module(assemble(kernels));
  const functions = new WebAssembly.Instance(module, { env: { memory } }).exports;

  function call(kernel: string, ...parameters: readonly number[]): void {
    const run = functions[kernel];
    // WebAssembly would take 0 for a parameter that is left out, and run.
    if (run?.length !== parameters.length) {
      assert(run !== undefined, `no kernel ${kernel}`);
      assert(false, `kernel ${kernel} takes ${run.length} parameters, not ${parameters.length}`);
    }
    run(...parameters);
  }

  const address = (tensor: tf.Tensor) => backend.dataIdMap.get(tensor.dataId).memoryOffset;

  function values(tensor: tf.Tensor): Float32Array | Int32Array {
    const View = tensor.dtype === 'int32' ? Int32Array : Float32Array;
    return new View(memory.buffer, address(tensor), tensor.size);
  }

  const allocate = (shape: readonly number[]) =>
    tf.engine().makeTensorFromTensorInfo(backend.makeOutput(shape, 'float32'));

  function own(variable: tf.Variable): void {
    if (backend.dataIdMap.get(variable.dataId).refCount === 1) return;
    const copy = allocate(variable.shape);
    values(copy).set(values(variable));
    variable.assign(copy);
    copy.dispose();
  }

  function zeros(shape: readonly number[]): tf.Tensor {
    const tensor = allocate(shape);
    values(tensor).fill(0);
    return tensor;
  }

  const room = backend.wasm._malloc(productRoom) >>> 0;
  const roomValues = () => new Float32Array(memory.buffer, room, productRoom / 4);
  return { call, address, values, room, roomValues, own, allocate, zeros };
}

function isWasmBackend(backend: object): backend is WasmBackend {
  if (!('wasm' in backend && 'dataIdMap' in backend && 'makeOutput' in backend)) return false;
  const { wasm, dataIdMap, makeOutput } = backend;
  return (
    isRecord(wasm) &&
    isRecord(wasm.asm) &&
    isRecord(wasm.asm.memory) &&
    isRecord(dataIdMap) &&
    typeof makeOutput === 'function'
  );
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  (typeof value === 'object' || typeof value === 'function') && value !== null;

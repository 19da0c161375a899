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

/** Kernels with memory that any call may overwrite. */
export interface Room {
  /** Runs a kernel by name, its arguments in the order of its definition. */
  call(kernel: string, ...parameters: readonly number[]): void;
  /** Where `productRoom` bytes of it lie. */
  readonly room: number;
  /** These bytes; the view is good until the next allocation, after which its length is 0 or it goes on. */
  roomValues(): Float32Array;
}

/** The kernels at work on the memory of TensorFlow.js's wasm backend. */
export interface Heap extends Room {
  /** Where the values of a tensor lie, in bytes. */
  address(tensor: tf.Tensor): number;
  /** The values themselves; the view is good until the next allocation. */
  values(tensor: tf.Tensor): Float32Array | Int32Array;
  /** Gives a variable memory of its own, which may then be written in place, if it shares its memory. */
  own(variable: tf.Variable): void;
  /** A new tensor with arbitrary content. */
  allocate(shape: readonly number[]): tf.Tensor;
  /** A new tensor of zeros. */
  zeros(shape: readonly number[]): tf.Tensor;
}

interface Memory {
  readonly buffer: ArrayBuffer;
}

// The part of the wasm backend that this file stands on; none of it is in TensorFlow.js's type declarations.
interface WasmBackend {
  readonly wasm: {
    readonly asm: { readonly memory: Memory };
    _malloc(bytes: number): number;
  };
  readonly dataIdMap: { get(dataId: object): { readonly memoryOffset: number; readonly refCount: number } };
  makeOutput(shape: readonly number[], dtype: string): tf.TensorInfo;
}

// TypeScript's library for Node has no types for WebAssembly.
declare const WebAssembly: {
  validate(bytes: Uint8Array): boolean;
  readonly Memory: new (limits: { readonly initial: number }) => Memory;
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
  const call = callsOf(assemble(kernels), memory);

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

/**
 * Kernels in memory of its own, for what is computed on the host whatever the backend.
 *
 * @returns undefined where WebAssembly lacks SIMD
 */
export function createRoom(kernels: Parameters<typeof assemble>[0]): Room | undefined {
  const code = assemble(kernels);
  if (!WebAssembly.validate(code)) return undefined;
  const memory = new WebAssembly.Memory({ initial: Math.ceil(productRoom / pageBytes) });
  const values = new Float32Array(memory.buffer, 0, productRoom / 4); // it does not grow
  return { call: callsOf(code, memory), room: 0, roomValues: () => values };
}

const pageBytes = 2 ** 16;

/** Instantiates kernels on a memory. */
function callsOf(code: Uint8Array, memory: Memory): Room['call'] {
  const module = new WebAssembly.Module(code);
  const functions = new WebAssembly.Instance(module, { env: { memory } }).exports;
  return (kernel, ...parameters) => {
    const run = functions[kernel];
    // WebAssembly would take 0 for a parameter that is left out, and run.
    if (run?.length !== parameters.length) {
      assert(run !== undefined, `no kernel ${kernel}`);
      assert(false, `kernel ${kernel} takes ${run.length} parameters, not ${parameters.length}`);
    }
    run(...parameters);
  };
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

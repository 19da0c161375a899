import { availableParallelism, freemem } from 'node:os';
import { type BackendName, runsOnGpu } from '../../compute/backend.js';
import { countParameters, type NetworkDefinition } from '../../models/network-definition.js';

const spareShare = 0.1; // of the memory that is free, left to others
const processMegabytes = 300; // a worker before it has a network: measured 140 (wasm) and 165 (tensorflow), with room
const copiesOfWeights = 10; // generalist, specialist, gradients, two moments, and their copies on the way to a checkpoint
const activationFactor = 6; // of a batch's outputs: kept for the way back, their gradients, and what a step makes between

/** What one of several processes may take of a machine. */
export interface WorkerShare {
  /** How many processes there are. */
  readonly workers: number;
  /** Megabytes that one may take before it is ended. */
  readonly memoryMegabytes: number;
}

/** What decides how much memory a training takes, and where it computes. */
export interface TrainingSize {
  readonly backend: BackendName;
  readonly definition: NetworkDefinition;
  readonly batchSize: number;
}

/** What the machine has to give. */
export interface MachineRoom {
  readonly cores: number;
  readonly freeMegabytes: number;
}

/** Cores of this process's own share of the machine, and memory that is free, in the control group where there is one. */
function machineRoom(): MachineRoom {
  const freeBytes = process.availableMemory?.() ?? freemem();
  return { cores: availableParallelism(), freeMegabytes: Math.floor(freeBytes / 2 ** 20) };
}

/**
 * How many processes train specialists side by side, and how much memory each may take.
 *
 * Without a number: one a core, of which each keeps its own busy, but no more than fit into the memory that is free
 * by {@link workerMegabytes}. A GPU takes one after the other: a process fills it, and several would have to share
 * its memory.
 *
 * @param asked a number of processes, which is kept, or `auto`
 * @param options.memoryMegabytes of each process, where the user has chosen it
 */
export async function poolSize(
  asked: number | 'auto',
  {
    backend,
    definition,
    batchSize,
    memoryMegabytes,
  }: TrainingSize & { readonly memoryMegabytes: number | null },
  { cores, freeMegabytes }: MachineRoom = machineRoom(),
): Promise<WorkerShare> {
  const usable = Math.floor((1 - spareShare) * freeMegabytes);
  const need = memoryMegabytes ?? workerMegabytes(definition, batchSize);
  const fitting = Math.max(1, Math.min(cores, Math.floor(usable / need)));
  const workers = asked !== 'auto' ? asked : (await runsOnGpu(backend)) ? 1 : fitting;
  return { workers, memoryMegabytes: memoryMegabytes ?? Math.max(1, Math.floor(usable / workers)) };
}

/** An estimate of the memory that training a specialist takes, in megabytes: for choosing a number, not a limit. */
export function workerMegabytes(definition: NetworkDefinition, batchSize: number): number {
  const { input, convolutions, dense, outputs } = definition;
  const pixels = input.height * input.width;
  // As if no block pooled: an upper bound of what the convolutions put out.
  const values = pixels * (input.channels + Math.max(0, ...convolutions)) * 2;
  const activations = batchSize * (values + dense.reduce((sum, units) => sum + units, 0) + outputs);
  const bytes = 4 * (copiesOfWeights * countParameters(definition) + activationFactor * activations);
  return processMegabytes + Math.ceil(bytes / 2 ** 20);
}

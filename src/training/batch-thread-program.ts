import { parentPort, workerData } from 'node:worker_threads';
import { assert, KdSpecError } from '../core/errors.js';
import type {
  BatchSource,
  BatchThreadData,
  EpochBatches,
  FromBatchThread,
  ToBatchThread,
} from './batches-ahead.js';

/**
 * The program of a thread that makes batches ahead of the trainer.
 *
 * It goes through the epochs without being asked, and pauses when `ahead` batches wait to be taken. Their memory is
 * handed over, not copied.
 */
const { module, name, parameters, epochs, ahead } = workerData as BatchThreadData;
assert(parentPort !== null, 'the batch thread was started as a program of its own');
const port = parentPort;

const stopped = -1; // a generation of no batches
let generation = 0;
let room = 0;
let wake = () => {};
let source: Promise<EpochBatches> | undefined;
let making: Promise<unknown> = Promise.resolve(); // of all generations

port.on('message', (message: ToBatchThread) => {
  if (message.kind === 'taken') room++;
  else if (message.kind === 'stop') {
    generation = stopped;
    void making.then(() => process.exit());
  } else {
    generation = message.generation;
    room = ahead;
    making = Promise.all([making, make(message.epoch, message.skip)]);
  }
  wake();
});

async function make(firstEpoch: number, firstSkip: number): Promise<void> {
  const own = generation;
  const say = (message: FromBatchThread, handedOver: ArrayBuffer[] = []) =>
    port.postMessage(message, handedOver);
  try {
    source ??= open();
    const { batches } = await source;
    for (let epoch = firstEpoch; epoch < epochs; epoch++) {
      let position = epoch === firstEpoch ? firstSkip : 0;
      for await (const batch of batches(epoch, position)) {
        while (room === 0 && own === generation) await woken();
        if (own !== generation) return; // the trainer wants to go on elsewhere
        room--;
        say({ generation: own, kind: 'batch', epoch, position: position++, batch }, wholeBuffers(batch));
        await new Promise((resolve) => setImmediate(resolve)); // messages of the trainer are read between two batches
      }
    }
    say({ generation: own, kind: 'done' });
  } catch (error) {
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    const code = error instanceof KdSpecError ? error.code : undefined;
    say({ generation: own, kind: 'failed', code, message, stack });
  }
}

async function open(): Promise<EpochBatches> {
  const exports: Record<string, BatchSource<unknown> | undefined> = await import(module);
  const found = exports[name];
  assert(found !== undefined, `${module} has no export ${name}`);
  return found.open(parameters);
}

function woken(): Promise<void> {
  return new Promise((resolve) => {
    wake = resolve;
  });
}

/** The memory of arrays that fill theirs; an array that is a view of a larger piece gets copied instead. */
function wholeBuffers(value: unknown, found = new Set<ArrayBuffer>()): ArrayBuffer[] {
  if (ArrayBuffer.isView(value)) {
    const { buffer, byteLength } = value;
    if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) found.add(buffer);
  } else if (typeof value === 'object' && value !== null) {
    for (const part of Object.values(value)) wholeBuffers(part, found);
  }
  return [...found];
}

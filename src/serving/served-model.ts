import type { Classifier } from '../models/classifier.js';
import { type Batcher, type BatchReport, createBatcher, createTurns } from './batcher.js';
import type { Gallery } from './gallery.js';

/** What is served. */
export interface Servable {
  /** Owned by the server from now on. */
  readonly classifier: Classifier;
  /** Names this model and no other, for clients and the log. */
  readonly version: string;
  /** Images of its classes, for the page. */
  readonly gallery?: Gallery | undefined;
}

/** The model that requests get at present, with what gathers their images. */
export interface ServedModel extends Servable {
  readonly batcher: Batcher;
}

/** A model in the hands of one request. */
export interface Lease extends Disposable {
  readonly model: ServedModel;
}

/**
 * One model after another, without a gap: a request keeps the model that it began with, and a model that was replaced
 * is disposed of when its last request has ended.
 */
export interface ModelSlot {
  readonly current: ServedModel;
  lease(): Lease;
  /** Takes up another classifier; requests from now on get it. */
  replace(servable: Servable): void;
  /** Disposes of the present model when its last request has ended. */
  close(): void;
}

interface Held extends ServedModel {
  leases: number;
  isRetired: boolean;
}

export function createModelSlot(
  first: Servable,
  options: {
    readonly batchSize: number;
    readonly waitMs: number;
    readonly onBatch: (report: BatchReport) => void;
  },
): ModelSlot {
  const exclusively = createTurns();
  const hold = (servable: Servable): Held => ({
    ...servable,
    batcher: createBatcher(servable.classifier, { ...options, exclusively }),
    leases: 0,
    isRetired: false,
  });
  const disposeIfUnused = ({ leases, isRetired, classifier }: Held) => {
    // In its turn: a batch whose requests have all gone may still be under way.
    if (isRetired && leases === 0) void exclusively(async () => classifier.dispose());
  };
  const retire = (held: Held) => {
    if (held.isRetired) return;
    held.isRetired = true;
    disposeIfUnused(held);
  };
  let current = hold(first);
  return {
    get current() {
      return current;
    },
    lease() {
      const held = current;
      let isOpen = true;
      held.leases++;
      return {
        model: held,
        [Symbol.dispose]() {
          if (!isOpen) return;
          isOpen = false;
          held.leases--;
          disposeIfUnused(held);
        },
      };
    },
    replace(servable) {
      const former = current;
      current = hold(servable);
      retire(former);
    },
    close: () => retire(current),
  };
}

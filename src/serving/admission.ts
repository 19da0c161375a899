import { performance } from 'node:perf_hooks';
import { setTimeout as wait } from 'node:timers/promises';
import { KdSpecError } from '../core/errors.js';

/** A share of a bounded resource; released once, a second call does nothing. */
export type Release = () => void;

/**
 * What may be under way at once: images between their first byte and their prediction, and bytes of bodies. Both are
 * reserved before anything is read or decoded, so that a flood costs a refusal each and no memory.
 */
export interface Admission {
  /**
   * @throws KdSpecError `server-busy` when there is no room
   */
  reserveImages(count: number): Release;
  /**
   * @throws KdSpecError `server-busy` when there is no room
   */
  reserveBytes(count: number): Release;
  /** Images under way. */
  readonly images: number;
  readonly isFull: boolean;
  /** Tells how long a batch of images took, of which the advice to come back later is made. */
  measured(images: number, seconds: number): void;
  /** Seconds until there will be room again, from 1 to 60. */
  retryAfterSeconds(): number;
  /**
   * Resolves when a refusal may be sent: at once while they are few. A flood of clients that come back without a pause is
   * slowed down, up to half a second each, since a refusal costs what a prediction would have needed.
   */
  turnToRefuse(): Promise<void>;
}

const smoothing = 0.2; // share of the newest batch in the rate
const mostSeconds = 60;
const refusalsPerSecond = 200; // beyond which they wait: about a twentieth of what a core can send
const longestTurnMs = 500; // half of the least that the advice to come back says

/** The refusal of what would be too much. */
export function busy(what: 'images' | 'bytes of images'): KdSpecError {
  return new KdSpecError(
    'server-busy',
    `the server has as many ${what} under way as it takes: try again later`,
  );
}

/** @param capacity what may be under way */
export function createAdmission(capacity: { readonly images: number; readonly bytes: number }): Admission {
  let images = 0;
  let bytes = 0;
  let imagesPerSecond: number | undefined;
  let nextTurnMs = 0;
  const once = (release: () => void): Release => {
    let isHeld = true;
    return () => {
      if (isHeld) release();
      isHeld = false;
    };
  };
  return {
    reserveImages(count) {
      if (images + count > capacity.images) throw busy('images');
      images += count;
      return once(() => {
        images -= count;
      });
    },
    reserveBytes(count) {
      if (bytes + count > capacity.bytes) throw busy('bytes of images');
      bytes += count;
      return once(() => {
        bytes -= count;
      });
    },
    get images() {
      return images;
    },
    get isFull() {
      return images >= capacity.images;
    },
    measured(count, seconds) {
      const rate = count / Math.max(seconds, 1e-6);
      imagesPerSecond =
        imagesPerSecond === undefined ? rate : (1 - smoothing) * imagesPerSecond + smoothing * rate;
    },
    retryAfterSeconds() {
      const seconds = imagesPerSecond === undefined ? 1 : images / imagesPerSecond;
      return Math.min(mostSeconds, Math.max(1, Math.ceil(seconds)));
    },
    async turnToRefuse() {
      const nowMs = performance.now();
      const turnMs = Math.min(Math.max(nextTurnMs, nowMs), nowMs + longestTurnMs);
      nextTurnMs = turnMs + 1000 / refusalsPerSecond;
      if (turnMs > nowMs) await wait(turnMs - nowMs);
    },
  };
}

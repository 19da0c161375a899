import type { GeometricMean } from '../operations.js';
import type { Kernels } from '../tensorflow-js/kernels.js';
import { scale } from './elementwise-kernels.js';
import { geometricMean as kernel } from './geometric-mean-kernel.js';
import { createRoom, type Room } from './heap.js';

/** The geometric mean by a kernel, in the room that all calls share. */
export const geometricMeanOn =
  (room: Room): Kernels['geometricMean'] =>
  (most) =>
    geometricMean(room, most);

/** Made when it is first wanted; null where WebAssembly lacks SIMD. */
let roomOfHost: Room | null | undefined;

/**
 * The same in memory of its own, for backends whose memory is not the host's: what they predict has been read, so that
 * fusion computes on the host in any case. It reaches no tensor.
 */
export const geometricMeanOnHost: Kernels['geometricMean'] = (most) => {
  if (roomOfHost === undefined) roomOfHost = createRoom([kernel, scale]) ?? null;
  return roomOfHost ? geometricMean(roomOfHost, most) : undefined;
};

function geometricMean(room: Room, most: number): GeometricMean | undefined {
  let all = room.roomValues();
  const logitsAt = 4 * Math.ceil(most / 4); // aligned
  const statisticsAt = 2 * logitsAt;
  if (statisticsAt + 5 > all.length) return undefined;
  const view = (): Float32Array => {
    if (all.length === 0) all = room.roomValues(); // the memory has grown, and is another
    return all;
  };
  const address = (index: number) => room.room + 4 * index;
  return {
    values: view,
    logitsAt,
    reaches: ({ buffer }) => buffer === view().buffer,
    scale(values, factor) {
      room.call('scale', values.byteOffset, values.byteLength, factor);
    },
    run(count, a, b, smallest, scale) {
      room.call(
        'geometricMean',
        address(0),
        address(logitsAt),
        4 * count,
        address(statisticsAt),
        a,
        b,
        smallest,
        Number(scale !== undefined),
        scale ?? 0,
      );
      const values = view();
      return {
        sum: values[statisticsAt],
        total: values[statisticsAt + 1],
        largestLogit: values[statisticsAt + 2],
        smallestLogit: values[statisticsAt + 3],
        exponentials: values[statisticsAt + 4],
      };
    },
  };
}

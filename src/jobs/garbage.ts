import { setFlagsFromString } from 'node:v8';

const growingPercent = 400; // of the live JavaScript heap
let holders = 0;

/**
 * Lets V8 collect garbage less often while specialists are trained, which is set for the whole process.
 *
 * A training has little on the JavaScript heap, about 30 MB, and a few large buffers beside it, which come and go, and
 * which V8 counts as growth of that heap. On the Han benchmark seven specialists had 38 full collections, in several
 * threads, and have 8 with this, start included; it took processor time from 2.2 to 2.0 s a specialist. Cost: garbage
 * of up to four times the live heap.
 *
 * @returns `restore`, which gives the choice back to V8 when the last holder has called it
 */
export function letGarbageGrow(): { restore(): void } {
  if (holders++ === 0) setFlagsFromString(`--heap-growing-percent=${growingPercent}`);
  let isHeld = true;
  return {
    restore() {
      if (isHeld && --holders === 0) setFlagsFromString('--heap-growing-percent=0');
      isHeld = false;
    },
  };
}

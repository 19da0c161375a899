import { framesASecond } from './mel-filter-bank.js';

/** What a frame belongs to: a third of a phoneme between two others. */
export interface State {
  readonly left: string;
  readonly phoneme: string;
  readonly right: string;
  /** 0 in the phoneme's first third, 1 in its middle, 2 in its last. */
  readonly position: 0 | 1 | 2;
}

/** Classes of frames, each a set of states that are tied. */
export interface StateClasses {
  /** `left-phoneme+right[position]`, `left-phoneme[0]`, `phoneme+right[2]` or `phoneme[position]`, positions from 1. */
  readonly names: readonly string[];
  /** (classes), the phoneme of each. */
  readonly phonemes: readonly string[];
  /** (classes), the position of each. */
  readonly positions: readonly (0 | 1 | 2)[];
  /** The class of a state; -1 where training has not this third of its phoneme at all. */
  classOf(state: State): number;
}

/** What espeak-ng calls pauses of any length, and the context of a sentence's first and last phoneme. */
export const silence = '_';

interface Segment {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/**
 * The state of every frame of a spoken sentence; a frame belongs to the phoneme that sounds at its centre.
 *
 * @param phonemes names and first samples, in order, as espeak-ng reports them
 * @param samples of the whole sentence
 * @param rate samples a second
 * @param frames whose centres stand at (t + 0.5) * 10 ms
 */
export function frameStates(
  phonemes: readonly (readonly [name: string, start: number])[],
  samples: number,
  rate: number,
  frames: number,
): State[] {
  const segments = joinSegments(phonemes, samples);
  const states: State[] = [];
  let at = 0;
  for (let t = 0; t < frames; t++) {
    const centre = ((t + 0.5) * rate) / framesASecond;
    while (at < segments.length - 1 && centre >= segments[at].end) at++;
    const { name, start, end } = segments[at];
    const third = Math.floor((3 * (centre - start)) / (end - start));
    states.push({
      left: segments[at - 1]?.name ?? silence,
      phoneme: name,
      right: segments[at + 1]?.name ?? silence,
      position: third <= 0 ? 0 : third === 1 ? 1 : 2,
    });
  }
  return states;
}

/** Intervals without those of no length; pauses that follow one another, the sentence's beginning too, are one. */
function joinSegments(phonemes: readonly (readonly [string, number])[], samples: number): Segment[] {
  const segments: Segment[] = [];
  const all = [[silence, 0] as const, ...phonemes];
  for (const [index, [label, start]] of all.entries()) {
    const end = all[index + 1]?.[1] ?? samples;
    if (end <= start) continue;
    const name = label === '' || label.startsWith(silence) ? silence : label;
    const last = segments.at(-1);
    if (name === silence && last?.name === silence) segments[segments.length - 1] = { ...last, end };
    else segments.push({ name, start, end });
  }
  return segments;
}

/** Names under which a state may be a class, the most particular first. Silence has no context. */
function candidates({ left, phoneme, right, position }: State): string[] {
  const place = `[${position + 1}]`;
  if (phoneme === silence) return [phoneme + place];
  const nearer = [[`${left}-${phoneme}${place}`], [], [`${phoneme}+${right}${place}`]][position];
  return [`${left}-${phoneme}+${right}${place}`, ...nearer, phoneme + place];
}

/**
 * Ties states until there are at most `limit` classes: every third of every phoneme is one; then the most frequent
 * names take the rest, be it with both neighbours or, at the edges of a phoneme, with the nearer one. A frame's class
 * is the most particular name that was kept. Classes that no frame is left for are dropped.
 *
 * @param states of all training frames
 * @param limit on the number of classes
 * @throws nothing; with a limit below three times the number of phonemes, those classes are all there are
 * Cost: linear in the number of frames.
 * Source: tied context-dependent states, Young, Odell and Woodland (1994); tied by frequency here, not by a tree.
 */
export function tieStates(states: readonly State[], limit: number): StateClasses {
  const counts = new Map<string, number>();
  const plain = new Set<string>();
  for (const state of states) {
    const names = candidates(state);
    for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
    plain.add(names[names.length - 1]);
  }
  const ranked = [...counts.keys()]
    .filter((name) => !plain.has(name))
    .toSorted((a, b) => (counts.get(b) ?? 0) - (counts.get(a) ?? 0) || (a < b ? -1 : 1));
  const kept = new Set([...plain, ...ranked.slice(0, Math.max(0, limit - plain.size))]);
  const nameOf = (state: State) => candidates(state).find((name) => kept.has(name));

  const members = new Map<string, State>(); // a state of each class
  for (const state of states) {
    const name = nameOf(state);
    if (name !== undefined && !members.has(name)) members.set(name, state);
  }
  const names = [...members.keys()].toSorted();
  const indexOf = new Map(names.map((name, index) => [name, index]));
  const sample = names.map((name) => members.get(name) as State);
  return {
    names,
    phonemes: sample.map(({ phoneme }) => phoneme),
    positions: sample.map(({ position }) => position),
    classOf: (state) => {
      for (const name of candidates(state)) {
        const index = indexOf.get(name);
        if (index !== undefined) return index;
      }
      return -1;
    },
  };
}

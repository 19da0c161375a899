import type { SplitName } from '../source.js';

/**
 * Variants of espeak-ng's American English, of both sexes and several ages; no voice speaks in two parts. Whispers,
 * robots and other synthesizers are left out.
 */
export const voices = {
  train: [
    ...['f1', 'f2', 'f3', 'm1', 'm2', 'm3', 'm5', 'm6', 'Alex', 'Annie', 'Denis', 'Gene', 'Jacky', 'Lee'],
    ...['Mario', 'belinda', 'edward', 'linda', 'max', 'paul', 'steph', 'Diogo', 'Hugo', 'rob'],
  ],
  validation: ['f4', 'm4', 'adam', 'anika'],
  test: ['f5', 'm7', 'm8', 'david', 'Andrea', 'Michael'],
} as const satisfies Record<SplitName, readonly string[]>;
export const language = 'en-us';

/** Drawn for each sentence, uniformly. */
export const speeds = [140, 220] as const; // words a minute
export const pitches = [25, 75] as const;
/** White noise below the sentence, in decibels. */
export const noiseDecibels = [10, 30] as const;

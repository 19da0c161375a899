import { expect, test } from 'vitest';
import { channels, frameCount, logMelEnergies } from './mel-filter-bank.js';

const rate = 22_050;

/** The channel with the most energy in the middle of a second of a sine. */
function loudest(hertz: number): number {
  const sound = Float32Array.from({ length: rate }, (_, n) => Math.sin((2 * Math.PI * hertz * n) / rate));
  const middle = logMelEnergies(sound, rate).subarray(50 * channels, 51 * channels);
  return middle.indexOf(Math.max(...middle));
}

test('a sine is loudest in the channel whose centre is nearest on the mel scale', () => {
  const mel = (hertz: number) => 2595 * Math.log10(1 + hertz / 700);
  for (const hertz of [200, 440, 1000, 2500, 6000]) {
    const place = ((mel(hertz) - mel(60)) / (mel(8000) - mel(60))) * (channels + 1) - 1;
    expect(Math.abs(loudest(hertz) - place)).toBeLessThanOrEqual(0.75);
  }
});

test('there is a frame every 10 ms, and silence is the floor', () => {
  expect(frameCount(rate, rate)).toBe(100);
  const energies = logMelEnergies(new Float32Array(rate / 2), rate);
  expect(energies).toHaveLength(50 * channels);
  for (const energy of energies) expect(energy).toBeCloseTo(Math.log(1e-10), 4);
});

test('sound twice as strong raises each energy by log 4', () => {
  const noise = Float32Array.from({ length: 4000 }, (_, n) => Math.sin(n * n) / 4);
  const once = logMelEnergies(noise, rate);
  const twice = logMelEnergies(
    noise.map((sample) => 2 * sample),
    rate,
  );
  for (const [at, energy] of once.entries()) expect(twice[at] - energy).toBeCloseTo(Math.log(4), 3);
});

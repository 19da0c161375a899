import { createPowerSpectrum } from './power-spectrum.js';

/** How sound becomes frames: the usual numbers of speech recognition, which the paper's section 4 has too. */
export const channels = 40;
export const framesASecond = 100; // one every 10 ms
const windowSeconds = 0.025;
const lowestHertz = 60;
const highestHertz = 8000;
/** Added to each energy before its logarithm is taken: far below what can be heard. */
const floor = 1e-10;

const melOf = (hertz: number) => 2595 * Math.log10(1 + hertz / 700);
const hertzOf = (mel: number) => 700 * (10 ** (mel / 2595) - 1);

/**
 * Logarithms of the energies in 40 triangular filters, evenly spaced on the mel scale from 60 Hz to 8 kHz, of frames
 * of 25 ms under a Hamming window, one every 10 ms.
 *
 * @param sound samples in [-1, 1]
 * @param rate samples a second, above 16,000
 * @returns (frames, 40); frame t is centred on (t + 0.5) * 10 ms, with silence beyond both ends of the sound
 * Cost: about 50 microseconds a frame.
 * Source: Davis and Mermelstein (1980); the mel scale of O'Shaughnessy (1987).
 */
export function logMelEnergies(sound: Float32Array, rate: number): Float32Array {
  const windowLength = Math.round(windowSeconds * rate);
  const size = 2 ** Math.ceil(Math.log2(windowLength));
  const hamming = Float64Array.from(
    { length: windowLength },
    (_, n) => 0.54 - 0.46 * Math.cos((2 * Math.PI * n) / (windowLength - 1)),
  );
  const filters = melFilters(size, rate);
  const powerOf = createPowerSpectrum(size);
  const frame = new Float64Array(size);
  const power = new Float64Array(size / 2 + 1);
  const count = frameCount(sound.length, rate);
  const energies = new Float32Array(count * channels);
  for (let t = 0; t < count; t++) {
    const start = Math.round(((t + 0.5) * rate) / framesASecond - windowLength / 2);
    for (let n = 0; n < windowLength; n++) frame[n] = (sound[start + n] ?? 0) * hamming[n];
    powerOf(frame, power);
    for (const [channel, { first, weights }] of filters.entries()) {
      let energy = 0;
      for (let k = 0; k < weights.length; k++) energy += weights[k] * power[first + k];
      energies[t * channels + channel] = Math.log(energy / size + floor);
    }
  }
  return energies;
}

/** Whole frames of a sound. */
export function frameCount(samples: number, rate: number): number {
  return Math.floor((samples * framesASecond) / rate);
}

/** Triangles over the bins of the spectrum, from the centre of the filter before to that of the one behind. */
function melFilters(size: number, rate: number) {
  const [low, high] = [melOf(lowestHertz), melOf(highestHertz)];
  const edges = Array.from({ length: channels + 2 }, (_, k) =>
    hertzOf(low + ((high - low) * k) / (channels + 1)),
  );
  return Array.from({ length: channels }, (_, channel) => {
    const [left, centre, right] = edges.slice(channel, channel + 3);
    const first = Math.ceil((left * size) / rate);
    const last = Math.floor((right * size) / rate);
    const weights = Float64Array.from({ length: last - first + 1 }, (_, k) => {
      const hertz = ((first + k) * rate) / size;
      return Math.max(0, Math.min((hertz - left) / (centre - left), (right - hertz) / (right - centre)));
    });
    return { first, weights };
  });
}

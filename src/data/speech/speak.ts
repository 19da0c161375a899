import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { packageFolder } from '../../core/package.js';

/** What espeak-ng is to say, and how. */
export interface Sentence {
  /** A voice of espeak-ng with a variant, e.g. `en-us+f1`. */
  readonly voice: string;
  /** Words a minute, 80 to 450. */
  readonly speed: number;
  /** 0 to 99. */
  readonly pitch: number;
  readonly text: string;
}

/** A sentence as it was spoken. */
export interface Spoken {
  /** Samples a second. */
  readonly rate: number;
  /** (samples), in [-1, 1]. */
  readonly sound: Float32Array;
  /** Each phoneme's name, as espeak-ng calls it, and the sample at which it begins. */
  readonly phonemes: readonly (readonly [name: string, start: number])[];
}

/**
 * Speaks sentences with espeak-ng, in their order.
 *
 * espeak-ng's command does not tell when a phoneme begins; its library does. `datasets/speech/speak.py` calls it.
 *
 * @param python the interpreter; any Python 3, no packages
 * @throws KdSpecError `speech-failed` when Python, the library or a voice is missing
 * Cost: about a hundredth of the time that the sentence takes to say.
 */
export async function* speak(
  sentences: readonly Sentence[],
  { python = 'python3' }: { readonly python?: string } = {},
): AsyncGenerator<Spoken> {
  const child = spawn(python, [join(packageFolder(), 'datasets', 'speech', 'speak.py')]);
  let complaint = '';
  child.stderr.on('data', (data: Buffer) => {
    complaint += data.toString();
  });
  const ended = once(child, 'close').catch((error: NodeJS.ErrnoException) => {
    complaint = error.code === 'ENOENT' ? `there is no ${python}: apt-get install python3` : error.message;
  });
  child.stdin.on('error', () => undefined); // a child that ended is told of below
  child.stdin.end(sentences.map((sentence) => `${JSON.stringify(sentence)}\n`).join(''));
  const chunks: AsyncIterator<Buffer> = child.stdout[Symbol.asyncIterator]();
  let waiting = Buffer.alloc(0);
  const need = async (isEnough: () => boolean) => {
    while (!isEnough()) {
      const { value, done } = await chunks.next();
      if (done) {
        await ended;
        const reason = complaint.trim().split('\n').at(-1) || 'it ended early';
        throw new KdSpecError('speech-failed', `espeak-ng could not speak: ${reason}`);
      }
      waiting = Buffer.concat([waiting, value]);
    }
  };
  try {
    for (let index = 0; index < sentences.length; index++) {
      await need(() => waiting.includes(0x0a));
      const headBytes = waiting.indexOf(0x0a) + 1;
      const head = JSON.parse(waiting.toString('utf8', 0, headBytes));
      const bytes = 2 * head.samples;
      await need(() => waiting.length >= headBytes + bytes);
      const sound = new Float32Array(head.samples);
      for (let n = 0; n < head.samples; n++) sound[n] = waiting.readInt16LE(headBytes + 2 * n) / 0x8000;
      waiting = waiting.subarray(headBytes + bytes);
      yield { rate: head.rate, sound, phonemes: head.phonemes };
    }
  } finally {
    child.kill();
  }
}

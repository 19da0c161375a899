import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { speak } from './speak.js';
import { speakCorpus, speechSource, windowAt } from './speech-source.js';
import { voices } from './voices.js';

/** espeak-ng is not installed everywhere; `.ci/run` installs it. */
const isInstalled = (() => {
  try {
    execFileSync('python3', [
      '-c',
      'import ctypes.util, sys; sys.exit(ctypes.util.find_library("espeak-ng") is None)',
    ]);
    return true;
  } catch {
    return false;
  }
})();

test('the 21st column of a window is the frame that is told; beyond the ends the last frame stands', () => {
  const frames = Uint8Array.from({ length: 30 * 40 }, (_, at) => Math.floor(at / 40));
  const columns = (t: number) => [...windowAt(frames, t).subarray(0, 26)];
  expect(columns(22)).toEqual([...Array.from({ length: 26 }, (_, column) => Math.min(29, column + 2))]);
  expect(columns(3).slice(0, 19)).toEqual([...new Array(18).fill(0), 1]);
});

test('a channel is a row of the window', () => {
  const frames = Uint8Array.from({ length: 30 * 40 }, (_, at) => at % 40);
  expect([...windowAt(frames, 10)].every((value, at) => value === Math.floor(at / 26))).toBe(true);
});

test('no voice is in two parts', () => {
  const all = Object.values(voices).flat();
  expect(new Set(all).size).toBe(all.length);
});

test('datasets/speech/dataset.yaml states the defaults of the function', async () => {
  const { classes, sentences } = parse(await readFile('datasets/speech/dataset.yaml', 'utf8'));
  const source = await readFile('src/data/speech/speech-source.ts', 'utf8');
  expect(source).toContain(`classes: limit = ${classes},`);
  expect(source).toContain(`sentences = ${sentences},`);
});

test('what is missing is told, and a number of sentences that the text does not have', async () => {
  await expect(speakCorpus({ sentences: 1, python: 'no-such-python' })).rejects.toMatchObject({
    code: 'speech-failed',
    message: expect.stringContaining('apt-get install python3'),
  });
  await expect(speakCorpus({ sentences: 1, python: 'false' })).rejects.toMatchObject({
    code: 'speech-failed',
  });
  await expect(speakCorpus({ sentences: 1000 })).rejects.toMatchObject({ code: 'option-invalid' });
});

describe.skipIf(!isInstalled)('with espeak-ng', () => {
  const options = { classes: 300, sentences: 1, seed: 7 };
  let corpus: Awaited<ReturnType<typeof speakCorpus>>;
  beforeAll(async () => {
    corpus = await speakCorpus(options);
  });

  test('the same seed gives the same corpus, and windows are those of the utterances', async () => {
    const source = await speechSource(options);
    const textOf = (pixels: Uint8Array) => Buffer.from(pixels).toString('latin1');
    expect(source.classes).toEqual(corpus.classes.names);
    expect(source.classes.length).toBeLessThanOrEqual(300);
    const wanted = corpus.utterances.test.flatMap(({ frames, labels }) =>
      Array.from(labels, (label, t) => `${label} ${textOf(windowAt(frames, t))}`),
    );
    expect(source.count('test')).toBe(wanted.length);
    const found: string[] = [];
    for await (const { pixels, label } of source.images('test')) found.push(`${label} ${textOf(pixels)}`);
    expect(found).not.toEqual(wanted);
    expect(found.toSorted()).toEqual(wanted.toSorted());
  });

  test('breathy voices sound the same after other code of the process has drawn random numbers', async () => {
    const sentence = { voice: 'en-us+f2', speed: 175, pitch: 50, text: 'The same breath twice.' };
    const soundOf = async (python: string) => {
      for await (const { sound } of speak([sentence], { python })) return sound;
      throw new Error('nothing was spoken');
    };
    const folder = await mkdtemp(join(tmpdir(), 'kd-spec-speech-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const drawFirst = join(folder, 'python3');
    const program =
      'import ctypes, runpy, sys; ctypes.CDLL(None).rand(); runpy.run_path(sys.argv[1], run_name="__main__")';
    await writeFile(drawFirst, `#!/bin/sh\nexec python3 -c '${program}' "$@"\n`, { mode: 0o755 });
    expect(await soundOf(drawFirst)).toEqual(await soundOf('python3'));
  });

  test('phonemes that differ sound different: the loudest channels of s lie above those of o', () => {
    const centreOf = (phoneme: string) => {
      let sum = 0;
      let count = 0;
      for (const { frames, phonemes } of corpus.utterances.train)
        for (const [t, name] of phonemes.entries()) {
          if (name !== phoneme) continue;
          const channels = frames.subarray(40 * t, 40 * (t + 1));
          sum += channels.indexOf(Math.max(...channels));
          count++;
        }
      return sum / count;
    };
    expect(centreOf('s')).toBeGreaterThan(centreOf('oU') + 10);
  });
});

import { existsSync } from 'node:fs';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRandom } from '../../src/core/random.js';
import { createPredictionWriter } from '../../src/data/predictions.js';
import { createCsrBuilder } from '../../src/math/csr.js';
import { startKdSpec } from '../fixtures/command-line.js';
import { strikeInItsMiddle } from '../support/strike.js';

/**
 * SIGINT and SIGTERM in the middle of a stage.
 *
 * Each stage first runs undisturbed, to learn how long it takes; the moments of the signals are shares of that. A command
 * that is over before its signal was not met; each signal has to meet each stage at least once.
 */
const classes = 300;
const subsets = 24; // of which most overlap, so that calibration has many specialists for each image

/** A generalist that hardly learns, on images enough for every stage to take seconds. */
const pipeline = `
dataset:
  source: jft-like
  classes: ${classes}
  imagesPerClass: 30
  imageSize: 16
generalist:
  network: { convolutions: [8], dense: [32] }
  epochs: 1
subsets:
  file: subsets.json
specialists:
  epochs: 1
  views: 1
`;

/** The command of each stage, and options that make the stage longer without the others. */
const commands: readonly (readonly [stage: string, words: readonly string[]])[] = [
  ['dataset', ['dataset', '--images-per-class', '100']],
  ['generalist', ['train-generalist', '--epochs', '4', '--patience', 'none']],
  [
    'predictions',
    ['predict', '--predict-split', 'train', '--max-top', `${classes}`, '--prediction-mass', '1'],
  ],
  ['subsets', ['cluster', '--predictions', 'confused', '--subsets', 'none', '--clusters', '60']],
  ['specialists', ['train-specialists', '--specialist-epochs', '2']],
  ['ensemble', ['calibrate']],
  ['answers', ['answer', '--transfer-views', '3']],
  ['student', ['distill', '--teacher', 'generalist', '--student-epochs', '4']],
  ['report', ['evaluate']],
];

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-signals-'));
  await writeFile(join(root, 'long.yaml'), pipeline);
  const width = 20;
  const list = Array.from({ length: subsets }, (_, id) => ({
    id,
    classes: Array.from({ length: width }, (_unused, place) => (((id * 7) % classes) + place) % classes),
  }));
  await writeFile(join(root, 'subsets.json'), JSON.stringify({ classes, subsets: list }));
  await writeConfused(join(root, 'confused'));
  const made = await startKdSpec(['run', 'long.yaml', '--quiet'], { folder: root }).finished;
  expect(made, made.stderr).toMatchObject({ code: 0 });
}, 600_000);
afterAll(() => rm(root, { recursive: true, force: true }));

/** Predictions of many classes, which are confused with classes near them: clustering them takes seconds. */
async function writeConfused(path: string): Promise<void> {
  const [many, rows, top] = [4000, 40_000, 16];
  const random = createRandom(1, 'confused');
  const writer = createPredictionWriter(path, { classes: many });
  const builder = createCsrBuilder(many, { entries: rows * top });
  for (let row = 0; row < rows; row++) {
    const labels = new Set([row % many]);
    while (labels.size < top) labels.add((row + random.below(200)) % many);
    const values = Array.from(labels, () => random.uniform() / top);
    builder.addRow([...labels], values, labels.size);
  }
  await writer.write({ probabilities: builder.finish(), labels: undefined });
  await writer.close();
}

/** A copy of the workspace in which the stage is still to be made. */
async function before(stage: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kd-spec-signal-'));
  await cp(root, folder, { recursive: true, preserveTimestamps: true });
  for (const name of [stage, ...(stage === 'student' ? ['answers'] : [])]) {
    await rm(join(folder, 'kd-workspace', name), { recursive: true, force: true });
  }
  return folder;
}

/** Starts a command and waits until its stage is at work. */
async function startStage(stage: string, words: readonly string[], folder: string) {
  const { child, finished } = startKdSpec([...words, '--quiet'], { folder });
  let hasEnded = false;
  void finished.then(() => {
    hasEnded = true;
  });
  const partial = join(folder, 'kd-workspace', '.partial', stage);
  while (!hasEnded && !existsSync(partial)) await wait(5);
  return { child, finished, startedMs: performance.now() };
}

describe.each(commands)('%s', { timeout: 600_000 }, (stage, words) => {
  test('ends soon after the second signal', async () => {
    const folder = await before(stage);
    const undisturbed = await startStage(stage, words, folder);
    expect(await undisturbed.finished).toMatchObject({ code: 0 });
    const stageMs = performance.now() - undisturbed.startedMs;
    await rm(folder, { recursive: true, force: true });

    await strikeInItsMiddle(
      async () => {
        const place = await before(stage);
        const started = await startStage(stage, words, place);
        void started.finished.then(() => rm(place, { recursive: true, force: true }));
        return started;
      },
      { what: stage, workMs: stageMs },
    );
  });
});

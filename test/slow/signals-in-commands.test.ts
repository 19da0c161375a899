import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startKdSpec } from '../fixtures/command-line.js';
import { colourModel, writePictures } from '../support/colour-model.js';
import { strikeInItsMiddle } from '../support/strike.js';

/**
 * SIGINT and SIGTERM in the middle of the commands that are no stage of a pipeline, or that work on a stranger's model.
 *
 * Each command first runs undisturbed, to learn how long it takes; the moments of the signals are shares of what follows the
 * start of the program. Each signal has to meet each command at least once.
 */
let startMs = 400; // before this the program is being loaded, and has no handler of signals; on a slow machine longer

const patch = ['--specialist-epochs', '10', '--min-size', '2', '--clusters', '2'];

/** The words of each command, and what it makes in the workspace that it finds there. */
const commands: readonly (readonly [command: string, words: readonly string[], makes: readonly string[]])[] =
  [
    ['import', ['import', '--onnx', 'model.onnx', '--source', 'pictures'], ['generalist', 'dataset']],
    [
      'patch',
      [
        'patch',
        'model.onnx',
        '--images',
        'pictures',
        '--bystanders',
        'others',
        '--harm',
        '10%',
        '--out',
        'out.onnx',
        ...patch,
      ],
      [],
    ],
    ['rivals', ['rivals'], ['rivals']],
    ['infer', ['infer', ...Array.from({ length: 8 }, () => 'pictures')], []],
    ['export', ['export', '--out', 'out.onnx'], []],
  ];

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-signals-'));
  const beganMs = performance.now();
  await startKdSpec(['--version'], { folder: root }).finished;
  startMs = Math.max(startMs, performance.now() - beganMs);
  await writeFile(join(root, 'model.onnx'), colourModel({ favours: { orange: 6, blue: 9 } }));
  await writePictures(join(root, 'pictures'), ['red', 'orange', 'green', 'white'], { perLabel: 200 });
  await writePictures(join(root, 'others'), ['blue', 'purple'], { perLabel: 200 });
  const words = ['run', '--onnx', 'model.onnx', '--source', 'pictures', ...patch];
  const made = await startKdSpec(words, { folder: root }).finished;
  expect(made, made.stderr).toMatchObject({ code: 0 });
}, 600_000);
afterAll(() => rm(root, { recursive: true, force: true }));

/** A copy of the folder in which the command has still to make what it makes. */
async function before(makes: readonly string[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kd-spec-signal-'));
  await cp(root, folder, { recursive: true, preserveTimestamps: true });
  for (const name of makes) await rm(join(folder, 'kd-workspace', name), { recursive: true, force: true });
  return folder;
}

test.each(commands)('%s ends soon after the second signal', { timeout: 600_000 }, async (_, words, makes) => {
  const start = async () => {
    const folder = await before(makes);
    const running = startKdSpec([...words, '--quiet'], { folder });
    void running.finished.then(() => rm(folder, { recursive: true, force: true }));
    return running;
  };
  const running = await start();
  const startedMs = performance.now();
  const undisturbed = await running.finished;
  expect(undisturbed, undisturbed.stderr).toMatchObject({ code: 0 });
  const workMs = performance.now() - startedMs - startMs;

  await strikeInItsMiddle(start, { what: `${words[0]}`, idleMs: startMs, workMs });
});

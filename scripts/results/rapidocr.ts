/**
 * A patched model inside the program that it came with: rapidocr opens the file in place of its own, and reads characters.
 *
 *     npm run build && npx tsx scripts/results/rapidocr.ts FOLDER [--seeds 1,2,3]
 *
 * FOLDER is the one of `second-list.ts`: the patch is its first, for the 200 characters most often taken for one another,
 * and the images are those for the test. Results: `docs/results/rapidocr.json` and `.md`.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type RapidocrReads, type RapidocrRun, renderRapidocr } from './complaints/rapidocr-page.js';
import { folderAndSeeds, kdSpec, remembered } from './workspace.js';
import { writeResult } from './write-result.js';

const { folder, seeds, out } = folderAndSeeds('the folder of second-list.ts');
const python = join(folder, 'venv', 'bin', 'python');

/** What rapidocr needs beside the packages of `complaint-lists.ts`. */
const packages = 'opencv-python-headless pyclipper shapely omegaconf pyyaml six tqdm requests colorlog'.split(
  ' ',
);
/** Widths to which rapidocr fills up an image: its own, and the one that specialists learned from. */
const widths = [
  { width: 320, most: 400 },
  { width: 48, most: 1200 },
];

const runs: RapidocrRun[] = [];
for (const seed of seeds) {
  const run = join(folder, 'runs', `second-list-${seed}`);
  if (!existsSync(join(run, 'first.json'))) throw new Error(`${run}: run second-list.ts first`);
  const read = await remembered(join(run, 'rapidocr.json'), (): Omit<RapidocrRun, 'seed'> => {
    execFileSync(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const patched = join(run, 'replaced.onnx');
    const from = ['--workspace', join(run, 'workspace-first'), '--backend', 'wasm'];
    kdSpec('export', '--replace-output', '--out', patched, ...from);
    const images = join(run, 'first', 'test');
    const reads = widths.map(
      ({ width, most }): RapidocrReads =>
        JSON.parse(
          execFileSync(
            python,
            [
              'scripts/results/complaints/rapidocr_reads.py',
              ...['--patched', patched, '--images', images],
              ...['--width', String(width), '--most', String(most)],
            ],
            { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
          ),
        ),
    );
    const printed = 'from importlib.metadata import version; print(version("rapidocr"))';
    const version = execFileSync(python, ['-c', printed], { encoding: 'utf8' }).trim();
    return { version, reads };
  });
  runs.push({ seed, ...read });
}
writeResult(out, 'rapidocr', { runs }, renderRapidocr);

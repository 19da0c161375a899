/**
 * A recogniser that takes one image at a time, its steps before the batch: ddddocr (8,210 classes, 1,024 features, MIT) out
 * of PyPI, patched for 60 characters, beside all rivals; the last layer of the best of them is written and measured, too.
 *
 *     npm run build && npx tsx scripts/results/ddddocr.ts FOLDER [--seeds 1,2,3] [--backend wasm]
 *
 * FOLDER is the one of `complaint-lists.ts`, whose images are used: the first view of the first 60 characters of its list,
 * and of 400 others as bystanders, divided by seed as there. A run goes on where an earlier one was. Results:
 * `docs/results/ddddocr.json` and `.md`.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { createRandom } from '../../src/core/random.js';
import { type DdddocrPatch, type DdddocrRun, renderDdddocr } from './complaints/ddddocr-page.js';
import { designsOf, type Pool } from './complaints/pool.js';
import { kdSpec, remembered } from './workspace.js';
import { writeResult } from './write-result.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '1,2,3' },
    backend: { type: 'string', default: 'wasm' },
    out: { type: 'string', default: 'docs/results' },
  },
});
const [place] = positionals;
if (place === undefined) throw new Error('expected the folder of complaint-lists.ts');
const folder = resolve(place);
const [listed, others] = [60, 400]; // characters
const harm = 0.01;

const python = (...words: readonly string[]) =>
  execFileSync('python3', words, { stdio: ['ignore', 'inherit', 'inherit'] });

/** The model and the names of its outputs, out of the package. */
function modelFiles(): { readonly model: string; readonly names: string } {
  const at = join(folder, 'ddddocr');
  const [model, names] = [join(at, 'ddddocr', 'common.onnx'), join(at, 'names.json')];
  if (!existsSync(names)) {
    python('-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', at, 'ddddocr==1.6.1');
    const [wheel] = readdirSync(at).filter((name) => name.endsWith('.whl'));
    python('-m', 'zipfile', '--extract', join(at, wheel), at);
    const program = [
      'import json, runpy, sys',
      'names = runpy.run_path(sys.argv[1])["CHARSET_BETA"]',
      'json.dump(list(names), open(sys.argv[2], "w"))',
    ];
    python('-c', program.join('\n'), join(at, 'ddddocr', 'charsets.py'), names);
  }
  return { model, names };
}

function layOut(pool: Pool, seed: number, run: string): void {
  const { train, val, test } = designsOf(pool, seed);
  const own = pool.confused.slice(0, listed);
  const rest = createRandom(seed, 'others').shuffle(pool.characters.filter((one) => !own.includes(one)));
  const parts = [
    ['photos/train', own, train],
    ['photos/val', own, val],
    ['photos/test', own, test],
    ['others/train', rest.slice(0, others), train],
    ['others/val', rest.slice(0, others), val],
    ['others/test', rest.slice(0, others), test],
  ] as const;
  for (const [part, characters, designs] of parts)
    for (const character of characters) {
      const to = join(run, part, character);
      mkdirSync(to, { recursive: true });
      for (const design of designs) {
        const image = join(folder, 'images', character, `${design}-0.png`);
        const link = join(to, `${design}-0.png`);
        if (existsSync(image) && !existsSync(link)) linkSync(image, link);
      }
    }
}

const { model, names } = modelFiles();
const pool: Pool = JSON.parse(readFileSync(join(folder, 'pool.json'), 'utf8'));
const runs: DdddocrRun[] = [];
for (const seed of values.seeds.split(',').map(Number)) {
  const run = join(folder, 'runs', `ddddocr-${seed}`);
  layOut(pool, seed, run);
  const patched = (name: string, ...more: readonly string[]) => {
    const workspace = join(run, name);
    mkdirSync(workspace, { recursive: true });
    const features = join(run, 'workspace', 'features');
    mkdirSync(features, { recursive: true });
    if (!existsSync(join(workspace, 'features'))) symlinkSync(features, join(workspace, 'features'));
    return kdSpec(
      'patch',
      model,
      ...['--labels', names, '--blank', '0', '--image-size', '64'],
      ...['--images', join(run, 'photos'), '--bystanders', join(run, 'others')],
      ...['--out', join(run, `${name}.onnx`), '--workspace', workspace, '--seed', String(seed)],
      ...['--clusters', '1', '--views', '1', '--harm', String(harm)],
      ...['--backend', values.backend, ...more],
    ) as DdddocrPatch;
  };
  const patch = await remembered(join(run, 'patch.json'), () => patched('workspace', '--with-rivals'));
  const refitted = await remembered(join(run, 'refitted.json'), () => {
    try {
      return patched('refitted', '--refit-share', '0.5', '--refit-views', '1', '--no-with-rivals');
    } catch (error) {
      // All was measured and the file refused, as it says on the screen; or something else went wrong.
      if (existsSync(join(run, 'refitted', 'report', 'manifest.json'))) return null;
      throw error;
    }
  });
  const { before, after, examples, calibratedFor, rivals } = patch;
  runs.push({
    seed,
    patch: { before, after, examples, calibratedFor, rivals },
    refitted: refitted && { after: refitted.after, calibratedFor: refitted.calibratedFor },
  });
}
writeResult(values.out, 'ddddocr', { listed, others, harm, runs }, renderDdddocr);

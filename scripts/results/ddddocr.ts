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
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { createRandom } from '../../src/core/random.js';
import { designsOf, type Pool } from './complaints/pool.js';
import { signed, table } from './format.js';
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

interface Figures {
  readonly top1: number;
  readonly bystanders: number;
}
interface Patch {
  readonly before: Figures;
  readonly after: Figures;
  readonly examples: { readonly test: number; readonly bystanders: number };
  readonly calibratedFor: number;
  readonly rivals: readonly (Figures & { readonly name: string })[];
}
interface Run {
  readonly seed: number;
  readonly patch: Patch;
}

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
const runs: Run[] = [];
for (const seed of values.seeds.split(',').map(Number)) {
  const run = join(folder, 'runs', `ddddocr-${seed}`);
  layOut(pool, seed, run);
  const patch = await remembered(join(run, 'patch.json'), () =>
    kdSpec(
      'patch',
      model,
      ...['--labels', names, '--blank', '0', '--image-size', '64'],
      ...['--images', join(run, 'photos'), '--bystanders', join(run, 'others')],
      ...['--out', join(run, 'patched.onnx'), '--workspace', join(run, 'workspace'), '--seed', String(seed)],
      ...['--clusters', '1', '--views', '1', '--harm', String(harm)],
      ...['--with-rivals', '--backend', values.backend],
    ),
  );
  const { before, after, examples, calibratedFor, rivals } = patch as Patch;
  runs.push({ seed, patch: { before, after, examples, calibratedFor, rivals } });
}
writeResult(values.out, 'ddddocr', { runs }, page);

function page({ runs }: { readonly runs: readonly Run[] }): string {
  const [{ patch: first }] = runs;
  const row = (name: string, figuresOf: (patch: Patch) => Figures | undefined) => [
    name,
    ...runs.flatMap(({ patch }) => {
      const figures = figuresOf(patch);
      return [
        figures ? signed(figures.top1 - patch.before.top1) : '',
        figures ? signed(figures.bystanders - patch.before.bystanders) : '',
      ];
    }),
  ];
  const rivals = first.rivals.filter(({ name }) => name !== 'temperature').map(({ name }) => name);
  const before = runs.map(({ seed, patch }) => {
    const { top1, bystanders } = patch.before;
    const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
    return `seed ${seed}: ${percent(top1)} of ${patch.examples.test} test images, ${percent(bystanders)} of ${patch.examples.bystanders} bystanders, calibrated for a harm of ${percent(patch.calibratedFor)}`;
  });
  return `# A recogniser that takes one image at a time

    npm run build && npx tsx scripts/results/ddddocr.ts FOLDER

ddddocr reads 8,209 characters from images of 64 pixels in height, one at a time, and its output has the steps before the
batch; PyPI's package \`ddddocr\` has the file (MIT), used as it is with \`--blank 0 --image-size 64\`. ${listed} characters that PP-OCRv6
takes for one another ([complaint lists](complaint-lists.md), whose degraded images and divisions these are), one view of each
design; bystanders are ${others} other characters. Changes in points of top-1 in designs that nothing saw, with at most ${100 * harm}% of
harm as the bystanders that bound it measure it:

${table(
  ['', ...runs.flatMap(({ seed }) => [`seed ${seed}: characters`, 'bystanders'])],
  [
    row('**specialists**', (patch) => patch.after),
    ...rivals.map((name) => row(name, (patch) => patch.rivals.find((rival) => rival.name === name))),
  ],
)}

The model itself: ${before.join('; ')}.
`;
}

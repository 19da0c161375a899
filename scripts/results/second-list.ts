/**
 * Patches add up: a model that was patched for one list of characters is patched for another. What happens to each list,
 * and to characters of neither, and whether the first patch's tensors stay in the file byte for byte.
 *
 *     npm run build && npx tsx scripts/results/second-list.ts FOLDER [--seeds 1,2,3]
 *
 * FOLDER is the one of `complaint-lists.ts`, whose images and divisions these are: the first list is the 200 characters
 * most often taken for one another, the second the 100 that come next; bystanders are on neither. A run goes on where an
 * earlier one was. Results: `docs/results/second-list.json` and `.md`.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, TensorProtoSchema } from 'onnx-buf';
import { createRandom } from '../../src/core/random.js';
import { imageFileBatches } from '../../src/data/image-file-batches.js';
import { loadEnsemble } from '../../src/ensemble/load-ensemble.js';
import { firstClass } from '../../src/math/rank.js';
import { designsOf, type Pool } from './complaints/pool.js';
import { type Counted, renderSecondList, type SecondListRun } from './complaints/second-list-page.js';
import { folderAndSeeds, kdSpec, remembered } from './workspace.js';
import { writeResult } from './write-result.js';

const { folder, seeds, out } = folderAndSeeds('the folder of complaint-lists.ts');
const [inFirst, inSecond, others] = [200, 100, 700]; // characters

const model = execFileSync('find', [join(folder, 'venv', 'lib'), '-name', 'PP-OCRv6_rec_small.onnx'], {
  encoding: 'utf8',
}).trim();
if (!model || !existsSync(join(folder, 'pool.json')))
  throw new Error(`${folder}: expected the model and the images of complaint-lists.ts: run it first`);

/** Folders of images as `kd-spec` reads them, of links to the pool. */
function layOut(pool: Pool, seed: number, run: string): void {
  const first = pool.confused.slice(0, inFirst);
  const second = pool.confused.slice(inFirst, inFirst + inSecond);
  const listed = new Set([...first, ...second]);
  const rest = createRandom(seed, 'others').shuffle(pool.characters.filter((one) => !listed.has(one)));
  const designs = designsOf(pool, seed);
  const lists = { first, second, others: rest.slice(0, others) };
  for (const [list, characters] of Object.entries(lists))
    for (const [part, chosen] of Object.entries(designs))
      for (const character of characters) {
        const from = join(folder, 'images', character);
        const to = join(run, list, part, character);
        mkdirSync(to, { recursive: true });
        for (const file of readdirSync(from)) {
          const [, design, view] = /^(.*)-(\d+)\.png$/.exec(file) ?? [];
          const isWanted = chosen.includes(design) && (list !== 'others' || view === '0');
          if (isWanted && !existsSync(join(to, file))) linkSync(join(from, file), join(to, file));
        }
      }
}

/** What the model, the first patch and both get right of a folder of images. */
async function countRight(images: string, once: string, twice: string): Promise<Counted> {
  const files = readdirSync(images).flatMap((character) =>
    readdirSync(join(images, character)).map((file) => ({ path: join(images, character, file), character })),
  );
  const [first, both] = [await loadEnsemble(once), await loadEnsemble(twice)];
  const { classes, input } = first;
  if (input.kind !== 'images') throw new Error('a patched model takes images');
  const counted = { images: files.length, model: 0, once: 0, twice: 0, changedOnce: 0, changedTwice: 0 };
  let at = 0;
  const paths = files.map(({ path }) => path);
  for await (const batch of imageFileBatches(paths, input.image, 64)) {
    const [onceTraces, twiceTraces] = [await first.trace(batch), await both.trace(batch)];
    for (const [row, { generalist, ensemble }] of onceTraces.entries()) {
      const { character } = files[at++];
      const isRight = (probabilities: Float32Array) =>
        Number(classes[firstClass(probabilities)] === character);
      const [was, then, now] = [generalist, ensemble, twiceTraces[row].ensemble].map(isRight);
      counted.model += was;
      counted.once += then;
      counted.twice += now;
      counted.changedOnce += Math.abs(then - was);
      counted.changedTwice += Math.abs(now - then);
    }
  }
  first.dispose();
  both.dispose();
  return counted;
}

/** The tensors that the first patch added, and how many of them are in the second file byte for byte. */
function comparedTensors(once: string, twice: string): SecondListRun['tensors'] {
  const tensorsOf = (file: string) =>
    new Map(
      fromBinary(ModelProtoSchema, readFileSync(file)).graph?.initializer.map((tensor) => [
        tensor.name,
        Buffer.from(toBinary(TensorProtoSchema, tensor)),
      ]),
    );
  const [before, after] = [tensorsOf(once), tensorsOf(twice)];
  const added = [...before].filter(([name]) => name.startsWith('kd_spec_'));
  const same = added.filter(([name, bytes]) => after.get(name)?.equals(bytes));
  return { added: added.length, same: same.length };
}

async function runOf(pool: Pool, seed: number): Promise<SecondListRun> {
  const run = join(folder, 'runs', `second-list-${seed}`);
  layOut(pool, seed, run);
  const [once, twice] = [join(run, 'once.onnx'), join(run, 'twice.onnx')];
  const patch = (from: string, list: string, out: string, ...reading: readonly string[]) =>
    remembered(join(run, `${list}.json`), () => {
      const workspace = join(run, `workspace-${list}`);
      mkdirSync(workspace, { recursive: true });
      mkdirSync(join(folder, 'features'), { recursive: true });
      if (!existsSync(join(workspace, 'features')))
        symlinkSync(join(folder, 'features'), join(workspace, 'features'));
      return kdSpec(
        ...['patch', from, '--images', join(run, list), '--bystanders', join(run, 'others'), '--out', out],
        ...['--workspace', workspace, '--clusters', '1', '--image-size', '48', '--views', '1'],
        ...['--seed', String(seed), '--no-with-rivals', '--backend', 'wasm'],
        ...reading,
      );
    });
  // As rapidocr gives images to the model; the patched file says it itself.
  await patch(model, 'first', once, '--image-mean', '0.5', '--image-std', '0.5');
  await patch(once, 'second', twice);
  const counted = (list: string) =>
    remembered(join(run, `${list}-counted.json`), () => countRight(join(run, list, 'test'), once, twice));
  return {
    seed,
    tensors: comparedTensors(once, twice),
    first: await counted('first'),
    second: await counted('second'),
    bystanders: await counted('others'),
  };
}

const pool: Pool = JSON.parse(readFileSync(join(folder, 'pool.json'), 'utf8'));
const runs: SecondListRun[] = [];
for (const seed of seeds) runs.push(await runOf(pool, seed));
writeResult(out, 'second-list', { lists: [inFirst, inSecond], runs }, renderSecondList);

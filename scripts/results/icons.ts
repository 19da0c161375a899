/**
 * A classifier from PyTorch: torchvision's ResNet-18 learns what icons show from the drawings of some families of sets, is
 * exported by `torch.onnx.export`, and patched with drawings of other families, beside all rivals. The test is a third
 * part of the families, which neither saw.
 *
 *     npm run build && npx tsx scripts/results/icons.ts FOLDER [--seeds 1,2,3] [--backend auto]
 *
 * FOLDER takes the npm package `@iconify/json` (104 MB, unpacked 500 MB), a Python environment with PyTorch (6 GB) unless
 * `--python` names an interpreter that has torch and torchvision (Debian's python3-torchvision will do), pictures,
 * trainings and workspaces. Everything goes on where an earlier run was. Settings of the specialists are compared on
 * validation images of the first seed, and the best are taken for all seeds, which divide the families of the user into
 * training and validation; then each reads the test once. Results: `docs/results/icons.json` and `.md`.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, linkSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { createRandom } from '../../src/core/random.js';
import { type Drawings, fewestFamilies, makeDrawings, type Part, type Picture } from './icons/drawings.js';
import { type IconsResult, type IconsRun, renderIcons, type Variant } from './icons/page.js';
import { kdSpec, metricsOf, remembered } from './workspace.js';
import { writeResult } from './write-result.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '1,2,3' },
    python: { type: 'string' },
    backend: { type: 'string', default: 'auto' },
    out: { type: 'string', default: 'docs/results' },
  },
});
const [place] = positionals;
if (place === undefined)
  throw new Error('expected a folder for packages, pictures, trainings and workspaces');
const folder = resolve(place);
const iconifyVersion = '2.2.535';

/** What is compared on validation, after the tool's own defaults; each has what the one before has, which the workspace keeps. */
const variants: readonly (readonly string[])[] = [
  [],
  ['--specialist-learning-rate', '0.003'],
  ['--specialist-learning-rate', '0.003', '--refit-share', '0.5'],
];

/** The package, unpacked. */
function iconPackage(): string {
  const unpacked = join(folder, 'package');
  if (existsSync(join(unpacked, 'collections.json'))) return unpacked;
  const name = `@iconify/json@${iconifyVersion}`;
  const packed = execFileSync('npm', ['pack', '--silent', '--pack-destination', folder, name], {
    encoding: 'utf8',
  });
  execFileSync('tar', ['-xzf', join(folder, packed.trim()), '-C', folder]);
  return unpacked;
}

/** An interpreter with torch and torchvision. */
function pythonWithTorch(): string {
  if (values.python !== undefined) return values.python;
  const made = execFileSync('bash', ['scripts/torch-venv.sh', join(folder, 'venv')], {
    encoding: 'utf8',
  }).trim();
  execFileSync(made, ['-m', 'pip', 'install', '--quiet', 'torchvision', 'onnx', 'onnxscript']);
  return made;
}

/** Trains and exports the model, unless it is there. */
function trainedModel(): { readonly model: string; readonly labels: string } {
  const files = { model: join(folder, 'model.onnx'), labels: join(folder, 'labels.txt') };
  if (!existsSync(join(folder, 'training.json')))
    execFileSync(pythonWithTorch(), ['scripts/results/icons/train.py', folder], { stdio: 'inherit' });
  return files;
}

/** The families that play validation under a seed: one of four of about the same size. */
function validationFamilies({ families, pictures }: Drawings, seed: number): ReadonlySet<string> {
  const sizes = new Map(families.own.map((family) => [family, 0]));
  for (const { family } of pictures) if (sizes.has(family)) sizes.set(family, (sizes.get(family) ?? 0) + 1);
  const bySize = families.own.toSorted((one, other) => (sizes.get(other) ?? 0) - (sizes.get(one) ?? 0));
  const chosen = new Set<string>();
  for (let first = 0; first < bySize.length; first += 4)
    chosen.add(createRandom(seed, 'validation', first).shuffle(bySize.slice(first, first + 4))[0]);
  return chosen;
}

/** Folders of images as `kd-spec` reads them, of links to the pictures. */
function layOut(drawings: Drawings, seed: number, run: string): IconsRun['images'] {
  const forValidation = validationFamilies(drawings, seed);
  const own = drawings.pictures.filter(({ part }) => part === 'own');
  const taught = new Set(own.filter(({ family }) => !forValidation.has(family)).map(({ name }) => name));
  const images = { train: 0, validation: 0 };
  const put = (part: string, { name, file }: Picture) => {
    const to = join(run, 'photos', part, name);
    mkdirSync(to, { recursive: true });
    const link = join(to, file);
    if (!existsSync(link)) linkSync(join(folder, 'images', file), link);
  };
  for (const picture of own) {
    const part = forValidation.has(picture.family) && taught.has(picture.name) ? 'validation' : 'train';
    images[part]++;
    put(part, picture);
  }
  for (const picture of drawings.pictures) if (picture.part === 'test') put('test', picture);
  return images;
}

/** Processor time of all child processes that have ended, in seconds. */
function childSeconds(): number {
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ');
  return (Number(fields[13]) + Number(fields[14])) / 100; // cutime, cstime: in hundredths, whatever the kernel counts in
}

const drawings = await makeDrawings(iconPackage(), folder);
const { model, labels } = trainedModel();
const seeds = values.seeds.split(',').map(Number);
const runs: IconsRun[] = [];
const compared: Variant[] = [];
let chosen: readonly string[] = [];
for (const seed of seeds) {
  const run = join(folder, 'runs', String(seed));
  const workspace = join(run, 'workspace');
  mkdirSync(workspace, { recursive: true });
  mkdirSync(join(folder, 'features'), { recursive: true });
  if (!existsSync(join(workspace, 'features')))
    symlinkSync(join(folder, 'features'), join(workspace, 'features'));
  const images = await remembered(join(run, 'laid-out.json'), () => layOut(drawings, seed, run));
  const kept = ['--workspace', workspace, '--seed', String(seed), '--backend', values.backend];
  const given = [...kept, '--labels', labels];
  if (compared.length === 0) {
    for (const words of variants)
      compared.push(
        await remembered(join(run, `variant${words.join('')}.json`), () => {
          kdSpec('calibrate', '--onnx', model, '--source', join(run, 'photos'), ...given, ...words);
          return variantOf(workspace, words);
        }),
      );
    chosen = compared.toSorted((one, other) => other.after - one.after)[0].words;
  }
  const made = await remembered(join(run, 'patch.json'), () => {
    const start = childSeconds();
    const words = ['--out', join(run, 'patched.onnx'), ...given, ...chosen];
    const { before, after, specialists, bytes } = kdSpec(
      'patch',
      model,
      '--images',
      join(run, 'photos'),
      ...words,
      '--with-rivals',
    ) as IconsRun['patch'];
    const patch = { before, after, specialists, bytes }; // and not where its files lie
    return { patch, processorSeconds: childSeconds() - start };
  });
  const rivals = JSON.parse(readFileSync(join(workspace, 'rivals', 'rivals.json'), 'utf8'));
  runs.push({ seed, images, rivals, ...(made as Pick<IconsRun, 'patch' | 'processorSeconds'>) });
}
const parts = ['model', 'own', 'test'] as const;
const eachPart = (numberOf: (part: Part) => number) =>
  Object.fromEntries(parts.map((part) => [part, numberOf(part)])) as Record<Part, number>;
const result: IconsResult = {
  data: {
    iconify: iconifyVersion,
    fewestFamilies,
    classes: drawings.classes.length,
    images: eachPart((part) => drawings.pictures.filter((picture) => picture.part === part).length),
    families: eachPart((part) => drawings.families[part].length),
  },
  training: JSON.parse(readFileSync(join(folder, 'training.json'), 'utf8')),
  variants: compared,
  chosen,
  runs,
};
writeResult(values.out, 'icons', result, renderIcons);

function variantOf(workspace: string, words: readonly string[]): Variant {
  const { rule, generalist, crossFitted, kept, specialists, examples } = metricsOf(workspace, 'ensemble');
  return {
    words,
    rule,
    kept,
    specialists,
    examples,
    before: generalist.top1,
    after: crossFitted.top1,
    negativeLogLikelihood: {
      before: generalist.negativeLogLikelihood,
      after: crossFitted.negativeLogLikelihood,
    },
  };
}

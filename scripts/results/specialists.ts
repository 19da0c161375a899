/**
 * The comparison on which the method stands: specialists against what the same computation buys otherwise.
 *
 *     npm run build && npx tsx scripts/results/specialists.ts jft-like-3k --seeds 1,2,3
 *
 * For each seed: the pipeline `pipelines/NAME.yaml`; the same generalist with specialists as the paper has them; and, at
 * the same training computation as generalist and specialists together, the generalist trained on, one with wider dense
 * layers and one with half the filters and still wider dense layers that answer at the ensemble's cost, and the mean of
 * two and of three generalists. Everything is chosen on validation; each of them looks at the test images once.
 * `--contenders` names those beside our method that are run. `--ablations PATTERN` adds, for the first seed, the changes
 * to the method whose names match (`.` are all), judged on validation by cross-fitting. Interrupted, it goes on where it
 * was. `--note` is what a person has to say of the run; without it the note that is there stays. Results:
 * `docs/results/specialists/NAME.json` with a page beside it, and `docs/results/specialists.md`, which sums up all.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';
import { firstTrainedPart, type SpecialistConfig } from '../../src/ensemble/specialist/specialist.js';
import type { Report } from '../../src/evaluation/report.js';
import { forwardFlops, type NetworkDefinition } from '../../src/models/network-definition.js';
import { confusionAndGains } from './specialists/confusion-and-gain.js';
import { writePages } from './specialists/page.js';
import type { AblationResult, Comparison, Contender, Result } from './specialists/result.js';
import { trainRivals, type Widths, widerRival } from './specialists/rivals.js';
import { scoreGeneralists } from './specialists/score-generalists.js';
import { ablations, paperOverrides, paperSpecialFraction } from './specialists/variants.js';
import { type Bench, metricsOf, remembered, runVariant } from './workspace.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '1,2,3' },
    folder: { type: 'string', default: 'kd-workspace/results' },
    out: { type: 'string', default: 'docs/results' },
    contenders: { type: 'string', default: 'paper,longer,wider,thinner,two,three' },
    ablations: { type: 'string' },
    note: { type: 'string' },
  },
});
const [name = 'jft-like-3k'] = positionals;
const seeds = values.seeds.split(',').map(Number);
const pipeline = `pipelines/${name}.yaml`;
const wanted = new Set(values.contenders.split(','));
const settings = parse(readFileSync(pipeline, 'utf8'));
const classes: number = settings.dataset.classes;

const benchOf = (seed: number): Bench => ({
  pipeline,
  seed,
  folder: join(values.folder, name, String(seed)),
});

const reportOf = (workspace: string): Report =>
  JSON.parse(readFileSync(join(workspace, 'report', 'report.json'), 'utf8'));

function ofReport(who: 'generalist' | 'ensemble', workspace: string): Contender {
  const { test, conditional, likelihood, inference, stages } = reportOf(workspace);
  const cost = (key: 'trainingFlops' | 'trainingSeconds') =>
    stages
      .filter(({ stage }) => stage === 'generalist' || (who === 'ensemble' && stage === 'specialists'))
      .reduce((sum, stage) => sum + (stage[key] ?? 0), 0);
  const top = (kind: 'top1' | 'top5') => ({
    mean: test[who][kind],
    standardError: test[who][`${kind}StandardError`],
  });
  return {
    top1: top('top1'),
    top5: top('top5'),
    conditional: { mean: conditional[who].top1, standardError: conditional[who].top1StandardError },
    likelihood: likelihood[who],
    trainingFlops: cost('trainingFlops'),
    trainingSeconds: cost('trainingSeconds'),
    flopsPerImage: inference?.[`${who}Flops`] ?? 0,
    parameters:
      (inference?.generalistParameters ?? 0) +
      (who === 'ensemble' ? (inference?.specialistParameters ?? 0) : 0),
  };
}

/** Generalists alone that had their share, scored. */
async function generalists(
  bench: Bench,
  variant: string,
  { members, share, network }: { members: number; share: number; network?: Widths },
): Promise<Contender> {
  const rivals = trainRivals(bench, variant, { ours: 'ours', members, share, ...(network && { network }) });
  const { workspaces, ...costs } = rivals;
  return {
    ...(await scored(workspaces, join(bench.folder, 'ours'))),
    ...costs,
    ...(network && { network: describe(network) }),
  };
}

const scored = (workspaces: readonly string[], ours: string) =>
  scoreGeneralists(
    workspaces,
    ours,
    reportOf(ours).specialists.map(({ id }) => id),
  );

const describe = ({ convolutions, dense }: Widths) =>
  `convolutions ${convolutions.join(', ')}; dense ${dense.join(', ')}`;

async function compare(seed: number): Promise<Comparison> {
  const bench = benchOf(seed);
  const { folder } = bench;
  mkdirSync(folder, { recursive: true });
  const kept = <T>(variant: string, make: () => T | Promise<T>) =>
    remembered(join(folder, `${variant}.json`), make);

  const ours = runVariant(bench, 'ours', {});
  const method = await kept('ours', () => {
    ours.until('evaluate');
    return ofReport('ensemble', ours.workspace);
  });
  const generalist = await kept('generalist', async () => ({
    ...ofReport('generalist', ours.workspace),
    tempered: (await scored([ours.workspace], ours.workspace)).tempered,
  }));
  const share = method.trainingFlops / generalist.trainingFlops;
  const { network: definition }: { network: NetworkDefinition } = JSON.parse(
    readFileSync(join(ours.workspace, 'generalist', 'config.json'), 'utf8'),
  );
  const another = (variant: string, convolutions: readonly number[]) =>
    generalists(bench, variant, {
      members: 1,
      ...widerRival({ ...definition, convolutions }, { ensemble: method, generalist }),
    });
  const ensembleOf = (variant: string, members: number) => generalists(bench, variant, { members, share });
  const makers: Record<string, () => Promise<Contender>> = {
    paper: async () => {
      const stages = ['dataset', 'generalist', 'predictions'];
      const overrides = paperOverrides(classes, paperEpochs(ours.workspace, definition));
      const one = runVariant(bench, 'paper', overrides, ['ours', stages]);
      one.until('evaluate');
      return ofReport('ensemble', one.workspace);
    },
    longer: () => ensembleOf('longer', 1),
    wider: () => another('wider', definition.convolutions),
    thinner: () =>
      another(
        'thinner',
        definition.convolutions.map((filters) => Math.ceil(filters / 2)),
      ),
    two: () => ensembleOf('two', 2),
    three: () => ensembleOf('three', 3),
  };
  const others: Record<string, Contender> = {};
  for (const [who, make] of Object.entries(makers)) {
    if (wanted.has(who)) others[who] = await kept(who, make);
  }
  const { coverage, fusion, ceiling, curve, routing, test, conditional, inference } = reportOf(
    ours.workspace,
  );
  return {
    seed,
    contenders: { generalist, method, ...others },
    differences: { test: test.difference, conditional: conditional.difference },
    coverage,
    fusion,
    curve: curve ?? [],
    ...(routing && { routing }),
    ...(inference && { inference }),
    ...(ceiling && { ceiling }),
    specialists: await confusionAndGains(ours.workspace),
  };
}

/** Epochs in which specialists of the generalist's size, with the paper's mixture, cost what ours do; none fewer than ours. */
function paperEpochs(workspace: string, ofGeneralist: NetworkDefinition): number {
  const { specialists } = settings;
  const { network, retrain }: SpecialistConfig = JSON.parse(
    readFileSync(join(workspace, 'specialists', '0', 'config.json'), 'utf8'),
  );
  const from = firstTrainedPart[retrain];
  const costOf = (definition: NetworkDefinition, specialFraction: number) =>
    forwardFlops(definition, { from }) / specialFraction; // to see a special example once
  const ours = specialists.epochs * costOf(network, specialists.specialFraction);
  const paper = costOf({ ...ofGeneralist, outputs: network.outputs }, paperSpecialFraction);
  return Math.max(specialists.epochs, Math.round(ours / paper));
}

async function ablate(seed: number, pattern: RegExp): Promise<readonly AblationResult[]> {
  const bench = benchOf(seed);
  const { folder } = bench;
  const stagesOf = {
    predictions: ['dataset', 'generalist', 'predictions'],
    subsets: ['dataset', 'generalist', 'predictions', 'subsets'],
    specialists: ['dataset', 'generalist', 'predictions', 'subsets', 'specialists'],
  };
  const measure = (label: string, workspace: string): AblationResult => {
    const { rule, crossFitted, generalist, kept, specialists } = metricsOf(workspace, 'ensemble');
    const { confusionInside, sizes } = metricsOf(workspace, 'subsets');
    const { trainingFlops } = metricsOf(workspace, 'specialists');
    return { label, rule, crossFitted, generalist, kept, specialists, confusionInside, sizes, trainingFlops };
  };
  const { dense } = settings.generalist.network;
  const { epochs, batchSize } = settings.specialists;
  const chosen = ablations({ classes, dense, epochs, batchSize }).filter(({ name: label }) =>
    pattern.test(label),
  );
  const results = [measure('our method', join(folder, 'ours'))];
  for (const { name: label, overrides, keeps } of chosen) {
    const variant = `ablation-${label.replaceAll(/[^a-z0-9]+/gi, '-').toLowerCase()}`;
    results.push(
      await remembered(join(folder, `${variant}.json`), () => {
        const one = runVariant(bench, variant, overrides, ['ours', stagesOf[keeps]]);
        one.until('calibrate');
        return measure(label, one.workspace);
      }),
    );
  }
  return results;
}

const path = join(values.out, 'specialists', `${name}.json`);
const written: Partial<Result> = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
const note = values.note ?? written.note; // what a person wrote outlives a new run
const comparisons: Comparison[] = [];
for (const seed of seeds) comparisons.push(await compare(seed));
const result = {
  name,
  classes,
  comparisons,
  ablations: values.ablations ? await ablate(seeds[0], new RegExp(values.ablations)) : [],
  ...(values.ablations && { ablationPattern: values.ablations }),
  ...(note && { note }),
};
mkdirSync(dirname(path), { recursive: true });
writeFileSync(path, `${JSON.stringify(result, null, 2)}\n`);
writePages(values.out);

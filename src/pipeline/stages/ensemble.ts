import { join } from 'node:path';
import { selectBackend } from '../../compute/backend.js';
import { writeJsonAtomically } from '../../core/atomic-file.js';
import { assert, KdSpecError } from '../../core/errors.js';
import type { JsonObject } from '../../core/json.js';
import type { Log } from '../../core/log.js';
import { createPause } from '../../core/pause.js';
import { percent, percentWithin, shortPercent, signedWithin } from '../../core/percent.js';
import { count, duration } from '../../core/quantity-text.js';
import { type ImageBatch, imageBatches } from '../../data/batches.js';
import { type Bystanders, openBystanders } from '../../data/bystanders.js';
import { type Dataset, openDataset, type Split } from '../../data/dataset.js';
import { countLabels } from '../../data/label-counts.js';
import type { ImageShape } from '../../data/source.js';
import {
  type Calibration,
  type CalibrationExample,
  calibrate,
  type RuleCalibration,
} from '../../ensemble/calibration/calibration.js';
import { calibrationExamples } from '../../ensemble/calibration/calibration-data.js';
import type { CalibrationPlan } from '../../ensemble/calibration/calibration-plan.js';
import type { Proof } from '../../ensemble/calibration/proof.js';
import { loadSpecialists } from '../../ensemble/ensemble.js';
import { ensembleFileName } from '../../ensemble/ensemble-file.js';
import { mostActive } from '../../ensemble/routing.js';
import { measureRouting } from '../../ensemble/routing-curve.js';
import { shareInside } from '../../ensemble/rules/share-inside.js';
import type { SpecialistConfig } from '../../ensemble/specialist/specialist.js';
import { firstClass } from '../../math/rank.js';
import { loadGeneralist } from '../../models/checkpoint.js';
import { batchSizeFor, type Classifier, rowOf } from '../../models/classifier.js';
import { loadOriginal } from '../../models/network-classifier.js';
import { expectNoDustbin } from '../checks/specialists-checks.js';
import type { Settings } from '../options.js';
import type { StageContext } from '../stage.js';
import type { StageResults } from '../stage-metrics.js';

const mostImages = 128; // a forward pass
const maxExamples = 20_000; // bounds the memory of the fit
const longSeconds = 60; // from which an estimate is worth a word
const curveExamples = 4000; // on which rules of routing are compared
const leastCurveExamples = 500; // where there are so many classes that more would take minutes
const curveValues = 2e8; // probabilities of an image, over all of these

/** Chooses, on validation, temperatures, weights, the fusion rule and which specialists are kept. */
export async function calibrateEnsemble(context: StageContext): Promise<StageResults['ensemble']> {
  const { settings, directory, log, signal } = context;
  const { calibrate: fit, weights, select, selectionErrors, harm, risk } = settings.ensemble;
  const { name: backend, operations } = await selectBackend(context.backend);
  context.usesBackend(backend);
  const dataset = await openDataset(context.input('dataset'));
  const { splits, image, classes } = dataset;
  const bystanders = await openBystanders(context.input('dataset'));
  const { routingTop, routingMass } = routingOf(settings.ensemble, bystanders !== undefined);
  const generalist = await loadGeneralist(context.input('generalist'), operations, {
    store: context.store,
  });
  const specialists = await loadSpecialists(context.input('specialists'), generalist);
  let original: Classifier | undefined;
  try {
    original = await loadOriginal(context.input('generalist'), generalist);
    const configs = specialists.members.map(({ config }) => config);
    const rule = await ruleToTry(context, dataset, { bystanders, configs });
    const routingRule = { top: routingTop, mass: routingMass, most: mostActive };
    const predict = (split: Split, what: string) =>
      predictionsFor(split, `predictions for ${what}`, context, (batches) =>
        calibrationExamples(generalist, specialists, batches, routingRule),
      );
    const examples = await predict(splits.validation, 'validation');
    const found = bystanders && (await predict(bystanders.bound, 'bystanders'));
    const others =
      found && original ? await withBefore(found, original, bystanders, classes.length, context) : found;
    const onPlan = (plan: CalibrationPlan) => tellOfPlan(plan, examples.length, others?.length, log);
    const fitGeneralist = generalist.backbone?.fusedBefore === undefined;
    // Images for a model made elsewhere may cover a part of its classes: no label of theirs is any class.
    const fitLabelNoise = !isMadeElsewhere(settings, dataset);
    const options = {
      ...{ rule, fit, fitGeneralist, fitLabelNoise, weights, select, selectionErrors },
      ...{ signal, onPlan },
    };
    const calibration = await calibrate(examples, configs, classes.length, {
      ...options,
      ...(bystanders && others && { bystanders: others.map((one) => withLabel(one, bystanders)) }),
      ...(harm !== null && { harm }),
      ...(risk !== null && { risk }),
    });
    if (calibration.proof) tellOfProof(calibration.proof, log);
    if (others) tellOfHarm(calibration, { isRefitted: original !== undefined }, log);
    const pause = createPause(signal, 'calibration');
    const onCurve = Math.min(
      curveExamples,
      Math.max(leastCurveExamples, Math.floor(curveValues / classes.length)),
    );
    const curve = firstBatches(splits.validation, image, { most: onCurve, classes: classes.length });
    const points = await measureRouting(generalist, specialists, calibration, curve, { pause });
    const routing = points.map((point) => ({ ...point }));
    const keptOf = (fitted: RuleCalibration) => fitted.specialists.filter(({ kept }) => kept).length;
    const summary = {
      rule: calibration.rule,
      labelNoise: calibration.labelNoise,
      generalistTemperature: calibration.generalistTemperature,
      parameters: { ...calibration.parameters },
      examples: calibration.examples,
      ...(calibration.isShared && { isShared: true as const }),
      generalist: { ...calibration.generalist },
      ...(calibration.calibratedGeneralist && {
        calibratedGeneralist: { ...calibration.calibratedGeneralist },
      }),
      uncalibrated: { ...calibration.uncalibrated },
      ensemble: { ...calibration.ensemble },
      crossFitted: { ...calibration.crossFitted },
      ...bystandersJson(calibration),
      ...(calibration.proof && { proof: { ...calibration.proof } }),
      routing,
    };
    await writeJsonAtomically(join(directory, ensembleFileName), {
      routingTop,
      routingMass,
      routingMost: mostActive,
      ...summary,
      specialists: specialistsJson(calibration),
      others: calibration.others.map((other) => ({
        rule: other.rule,
        labelNoise: other.labelNoise,
        generalistTemperature: other.generalistTemperature,
        parameters: { ...other.parameters },
        uncalibrated: { ...other.uncalibrated },
        ensemble: { ...other.ensemble },
        crossFitted: { ...other.crossFitted },
        ...bystandersJson(other),
        specialists: specialistsJson(other),
      })),
    });
    return {
      ...summary,
      specialists: specialists.members.length,
      kept: keptOf(calibration),
      weight: median(calibration.specialists.map(({ weight }) => weight)),
      rules: [calibration, ...calibration.others].map((fitted) => ({
        rule: fitted.rule,
        kept: keptOf(fitted),
        crossFitted: { ...fitted.crossFitted },
        ...bystandersJson(fitted),
      })),
    };
  } finally {
    generalist.dispose();
    specialists.dispose();
    original?.dispose();
  }
}

/** Whether the generalist is a model that was imported, or logits that were stored. */
function isMadeElsewhere(settings: Settings, { image }: Dataset): boolean {
  return settings.dataset.model.onnx !== null || image.logits !== undefined;
}

/**
 * The rule of the settings; where images of a part of the classes are all there is to choose by, the only one that needs
 * no measure of what it does to the others, and no dustbins, where nothing taught one.
 */
async function ruleToTry(
  { settings, log }: StageContext,
  dataset: Dataset,
  {
    bystanders,
    configs,
  }: { readonly bystanders: Bystanders | undefined; readonly configs: readonly SpecialistConfig[] },
): Promise<string> {
  const { rule } = settings.ensemble;
  const { splits, image, classes } = dataset;
  const untaught = configs.find(({ dustbin }) => dustbin.otherExamples === 0);
  if (untaught) expectNoDustbin(rule, `specialist ${untaught.id} had none`);
  const isUnmeasured = isMadeElsewhere(settings, dataset) && bystanders === undefined;
  if (untaught && rule === 'auto' && !isUnmeasured) {
    log.info(
      `rule ${shareInside.name}: it uses no dustbins, and specialist ${untaught.id} had no labelled examples of other ` +
        'classes, from which its dustbin would learn (--bystanders PATH)',
    );
    return shareInside.name;
  }
  if (!isUnmeasured) return rule;
  const counts = await countLabels(splits.train, classes.length);
  const without = counts.reduce((sum, count) => sum + Number(count === 0), 0);
  if (without === 0 || rule === shareInside.name) return rule;
  if (rule !== 'auto') {
    log.warn(
      `--rule ${rule} may take probability from the ${without.toLocaleString('en')} classes without ${image.isFeatures ? 'rows' : 'images'}, and no ` +
        'bystanders tell how much: give --bystanders PATH, or --rule share-inside',
    );
    return rule;
  }
  log.info(
    `rule ${shareInside.name}: it leaves the probability of every class outside a subset as it is, and no bystanders ` +
      'measure what another rule, or a shift of its masses, would do to them (--bystanders PATH)',
  );
  return shareInside.name;
}

/** Where masses may be shifted, specialists are needed on images whose first class is outside their subset, too. */
function routingOf(
  { routingTop, routingMass }: Settings['ensemble'],
  hasBystanders: boolean,
): { readonly routingTop: number; readonly routingMass: number | null } {
  const isOpen = routingTop === null && routingMass === null && hasBystanders;
  return { routingTop: routingTop ?? 1, routingMass: isOpen ? 1 / mostActive : routingMass };
}

/** The first predictions for a split, as calibration takes them. */
async function predictionsFor(
  split: Split,
  name: string,
  { input, log, signal }: StageContext,
  predict: (batches: AsyncIterable<ImageBatch>) => AsyncIterable<CalibrationExample>,
): Promise<readonly CalibrationExample[]> {
  const { image, classes } = await openDataset(input('dataset'));
  const batches = firstBatches(split, image, { most: maxExamples, classes: classes.length });
  const progress = log.progress(name, Math.min(split.rows, maxExamples));
  const examples: CalibrationExample[] = [];
  const pause = createPause(signal, 'calibration');
  for await (const example of predict(batches)) {
    examples.push(example);
    const turn = pause();
    if (!turn) continue;
    progress.update(examples.length);
    await turn;
  }
  progress.finish();
  return examples;
}

/** Bystanders with what the model predicted for each as it came, before its last layer was refitted. */
async function withBefore(
  examples: readonly CalibrationExample[],
  original: Classifier,
  { bound, dataset: { image } }: Bystanders,
  classes: number,
  { signal }: StageContext,
): Promise<readonly CalibrationExample[]> {
  const before: number[] = [];
  for await (const batch of firstBatches(bound, image, { most: maxExamples, classes })) {
    if (signal.aborted) throw new KdSpecError('interrupted', 'stopped before calibration began');
    const probabilities = await original.probabilities(batch);
    for (let row = 0; row < batch.count; row++)
      before.push(firstClass(rowOf(probabilities, row, original.classes.length)));
  }
  assert(before.length === examples.length, 'a prediction of the model as it was for each bystander');
  return examples.map((example, at) => ({ ...example, before: before[at] }));
}

/** A bystander without a label counts as what was predicted before: any change is harm. */
function withLabel(example: CalibrationExample, { unlabelled }: Bystanders): CalibrationExample {
  if (example.label !== unlabelled) return example;
  if (example.before !== undefined) return { ...example, label: example.before };
  const { classes, probabilities } = example.generalist;
  return { ...example, label: classes[firstClass(probabilities)] };
}

/** On how much calibration is going to work, for how long, and what was cut so that it ends in good time. */
function tellOfPlan(
  { validation, bystanders, isShared, mostActive, estimatedSeconds }: CalibrationPlan,
  examples: number,
  others: number | undefined,
  log: Log,
): void {
  const of = (used: number, all: number) => (used < all ? `${count(used)} of ${count(all)}` : count(all));
  log.info(
    `calibrating on ${of(validation, examples)} validation images` +
      (others === undefined ? '' : ` and ${of(bystanders, others)} bystanders`) +
      (estimatedSeconds < longSeconds ? '' : `: about ${duration(estimatedSeconds)} on a core`),
  );
  if (!isShared) return;
  log.warn(
    `up to ${mostActive} specialists are active on an image, too many to fit each: all share a temperature, a weight and ` +
      "the rule's parameters; with subsets that overlap less, each has its own",
  );
}

/** What each rule costs bystanders and brings on validation, and which is used. */
function tellOfHarm(
  calibration: Calibration,
  { isRefitted }: { readonly isRefitted: boolean },
  log: Log,
): void {
  for (const { rule, crossFitted, top1Gain, bystanders } of [calibration, ...calibration.others]) {
    if (bystanders === undefined) continue;
    const { harm, bound, refused } = bystanders;
    const used = rule === calibration.rule ? ', in use' : '';
    const limit = Number.isFinite(bound) ? `at most ${shortPercent(bound)}` : 'no bound';
    if (refused === undefined) {
      log.info(
        `rule ${rule}${used}: validation top-1 ${isRefitted ? 'of the refitted layer ' : ''}${percent(calibration.generalist.top1)} to ${percent(crossFitted.top1)} ` +
          `(${signedWithin(top1Gain.mean, top1Gain.standardError)}), ` +
          `harm to bystanders ${percentWithin(harm.harm, harm.standardError)} (${limit})`,
      );
    } else {
      log.warn(
        `rule ${rule}${used}: harm to bystanders would be ${percent(refused)} or more, and may be ${limit} with a ` +
          `standard error to spare, of ${harm.examples.toLocaleString('en')} bystanders: predictions are left to the ` +
          (isRefitted
            ? `generalist, whose refitted layer costs them ${percentWithin(harm.harm, harm.standardError)} by itself: give a smaller --refit-share`
            : 'generalist'),
      );
    }
  }
  log.info(
    'this is what images like those of validation gain, ± one standard error between images: what differs from them, such as ' +
      'another font, vendor or camera, may gain much less, and only test images that differ as much tell how much (--group)',
  );
}

/** What the held-out images show, and what follows. */
function tellOfProof({ examples, gained, lost, chance, risk, isShown }: Proof, log: Log): void {
  const found =
    `of ${count(examples)} validation images that nothing was chosen on, ${count(gained)} are right only with the ` +
    `specialists and ${count(lost)} only without them`;
  const odds = `chance does as well in ${percent(chance, 2)} of cases (--risk ${risk})`;
  if (isShown) log.info(`${found}; ${odds}`);
  else log.warn(`${found}, which shows no gain: ${odds}; predictions are left to the generalist`);
}

function bystandersJson({ bystanders }: RuleCalibration) {
  if (bystanders === undefined) return {};
  const { harm, bound, refused, crossFitted, tradeOff } = bystanders;
  return {
    bystanders: {
      ...harm,
      bound: Number.isFinite(bound) ? bound : null,
      crossFitted: { harm: crossFitted.harm, standardError: crossFitted.standardError },
      ...(tradeOff && {
        tradeOff: tradeOff.map(({ gain, harm: lost }) => ({
          top1Gain: gain.mean,
          top1StandardError: gain.standardError,
          harm: lost.harm,
          standardError: lost.standardError,
        })),
      }),
      ...(refused !== undefined && { refused }),
    },
  };
}

/** The first images of a split, in batches. */
async function* firstBatches(
  split: Split,
  image: ImageShape,
  { most, classes }: { readonly most: number; readonly classes: number },
) {
  const batchSize = Math.min(mostImages, batchSizeFor(classes));
  let done = 0;
  for await (const batch of imageBatches(split, image, { batchSize })) {
    yield batch;
    done += batch.count;
    if (done >= most) return;
  }
}

function specialistsJson({ specialists }: RuleCalibration): JsonObject[] {
  return specialists.map(({ parameters, ...specialist }) => ({
    ...specialist,
    ...(parameters && { parameters: { ...parameters } }),
  }));
}

function median(values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? null;
}

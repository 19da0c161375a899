import { count, duration, operations } from '../core/quantity-text.js';
import type { DatasetOutline, NetworkOutline, SpecialistsOutline } from '../pipeline/outline.js';
import type { Plan, PlannedStage } from '../pipeline/plan.js';
import { alignColumns } from './summary.js';

/** What `--dry-run --json` prints. */
export function planJson(
  { stages, outline, warnings, rate }: Plan,
  place: {
    readonly workspace: string;
    readonly isNew: boolean;
    readonly pipeline: string;
    /** Of the settings. */
    readonly warnings: readonly string[];
  },
): object {
  const { dataset, generalist, specialists, student } = outline;
  return {
    ...place,
    warnings: [...place.warnings, ...warnings],
    dataset,
    generalist: generalist && networkJson(generalist),
    specialists: specialists && {
      count: specialists.count,
      classes: specialists.classes,
      retrain: specialists.retrain,
      engine: specialists.engine,
      processes: specialists.processes,
    },
    student: student && { ...networkJson(student), candidates: student.candidates },
    rate,
    plan: stages,
  };
}

/** The same for a person: what is done, then what comes of it. */
export function planText(
  { stages, outline, rate }: Plan,
  { workspace, isNew }: { readonly workspace: string; readonly isNew: boolean },
): string {
  const words = { 'up-to-date': 'up to date', make: 'make', continue: 'continue' };
  const { dataset, generalist, specialists, student } = outline;
  const rows: (readonly [string, string])[] = [['workspace', `${workspace}${isNew ? ', new' : ''}`]];
  if (dataset) rows.push(['data', datasetText(dataset)]);
  if (generalist) rows.push(['generalist', networkText(generalist)]);
  if (specialists) rows.push(['specialists', specialistsText(specialists)]);
  if (student) {
    const several = student.candidates > 1 ? `; ${count(student.candidates)} to choose from` : '';
    rows.push(['student', `${networkText(student)}${several}`]);
  }
  const training = stages.filter(({ trainingFlops }) => trainingFlops !== null);
  if (training.length > 0) {
    rows.push(['training', training.map((stage) => costText(stage)).join('; ')]);
    if (!rate.isMeasured) {
      const assumed = `${operations(rate.flopsPerSecond)} a second and process are assumed`;
      rows.push(['time', `${assumed}; measured once a generalist has been trained here`]);
    }
  }
  return [
    alignColumns(stages.map(({ stage, status, reasons }) => [stage, words[status], reasons.join(', ')])),
    alignColumns(rows),
  ].join('\n\n');
}

function networkJson({ definition, parameters, flopsPerImage }: NetworkOutline): object {
  const { convolutions, kernel, dense, normalisation, outputs } = definition;
  return { convolutions, kernel, dense, normalisation, outputs, parameters, flopsPerImage };
}

function datasetText({ source, classes, images, image, isExact, modelClasses }: DatasetOutline): string {
  const most = isExact ? '' : 'at most ';
  return [
    source,
    ...(classes === null ? [] : [`${most}${count(classes)} classes`]),
    ...(modelClasses === null ? [] : [`${count(modelClasses)} classes in the model`]),
    ...(images === null
      ? []
      : [
          `${most}${count(images.train)} training, ${count(images.validation)} validation and ${count(images.test)} test images`,
        ]),
    ...(image === null
      ? []
      : [`${image.height} × ${image.width} pixels, ${image.channels === 1 ? 'grey' : 'colour'}`]),
  ].join('; ');
}

function networkText({ definition, parameters, flopsPerImage }: NetworkOutline): string {
  const layers = (widths: readonly number[]) => widths.join(', ') || 'none';
  return (
    `convolutions ${layers(definition.convolutions)}; dense layers ${layers(definition.dense)}; ` +
    `${count(parameters)} parameters; ${operations(flopsPerImage)} per image`
  );
}

function specialistsText({ count: number, classes, retrain, engine, processes }: SpecialistsOutline): string {
  const what = { head: 'the head', top: 'the dense layers', all: 'the whole network' }[retrain];
  const where =
    engine !== 'local'
      ? `by jobs of ${engine}`
      : processes === null
        ? 'in as many processes as cores and memory allow'
        : processes === 1
          ? 'in one process'
          : `in ${processes} processes`;
  const size = classes === null ? '' : `, of ${count(Math.round(classes))} classes on average`;
  return `${count(number)}${size}; ${what} of each retrained ${where}`;
}

function costText({ stage, trainingFlops, isMost, seconds }: PlannedStage): string {
  const most = isMost ? 'at most ' : '';
  const time = seconds === null ? '' : `, ${most || 'about '}${duration(seconds)}`;
  return `${stage} ${most}${operations(trainingFlops ?? 0)}${time}`;
}

import { packageVersion } from '../core/package.js';
import { percent, percentWithin, signedWithin } from '../core/percent.js';
import { count } from '../core/quantity-text.js';
import type { Report } from './report.js';

/** What a card says beside the report. */
export interface CardFacts {
  readonly name: string;
  /** Of the model, or of the model that it was made of, and whether that model's own metadata say so. */
  readonly licence: { readonly name: string; readonly isFromModel: boolean } | undefined;
  readonly description: string;
  readonly classes: number;
  readonly specialists: number;
  readonly rule: string;
  readonly outputs: readonly string[];
  readonly input: string;
  readonly weights: string;
  /** Where the model takes rows of numbers instead of images: what stands in a row. */
  readonly row?: { readonly features: number; readonly logits: number } | undefined;
  /** Lines of Python that make `images` of a picture, or `rows` of a file. */
  readonly preparation: readonly string[];
  /** Where the student is exported: what it reaches on test images; null where nothing measured it. */
  readonly student?:
    | {
        readonly examples: number;
        /** Classes with test images. */
        readonly classes: number;
        readonly top1: number;
      }
    | null
    | undefined;
}

/** What a card quotes of a report. */
export type CardReport = Pick<Report, 'test' | 'split' | 'original' | 'bystanders'>;

/**
 * The card of an exported ensemble, or of a student, as Markdown with the front matter that hubs of models read: what it
 * is, what it was made of, how good it is, and under which licence.
 *
 * @param report of the workspace, on its ensemble; none leaves the figures out, and says so
 */
export function modelCard(facts: CardFacts, report: CardReport | undefined): string {
  const { name, licence, description, classes, specialists, outputs, input, weights, row } = facts;
  const { preparation, student } = facts;
  const isStudent = student !== undefined;
  const examples = examplesOf(facts);
  const tag = isStudent ? 'distillation' : 'ensemble-of-specialists';
  const front = [
    '---',
    'library_name: onnx',
    `pipeline_tag: ${row ? 'tabular' : 'image'}-classification`,
    `license: ${licence === undefined ? 'unknown' : JSON.stringify(licence.name)}`,
    'tags:',
    '- kd-spec',
    ...(isStudent || specialists > 0 ? [`- ${tag}`] : []),
    '---',
  ];
  const lines = [
    `# ${name}`,
    '',
    `A classifier of ${count(classes)} classes: ${isStudent ? 'one network that was distilled from a teacher, as an ONNX graph' : partsOf(facts)}. ` +
      `Made with kd-spec ${packageVersion()}.`,
    '',
    '## Data',
    '',
    description.endsWith('.') ? description : `${description}.`,
    '',
    '## Figures',
    '',
    ...(isStudent ? studentFigures(student, facts) : figures(report, facts)),
    '',
    '## Use',
    '',
    '```python',
    'import json, onnxruntime',
    ...preparation,
    "session = onnxruntime.InferenceSession('model.onnx')",
    `probabilities, = session.run([${JSON.stringify(outputs[0])}], {${JSON.stringify(input)}: ${examples}})`,
    "names = json.load(open('config.json'))['id2label']",
    'print(names[str(probabilities[0].argmax())])',
    '```',
    '',
    `${row ? `\`rows\` are ${rowText(row)}.` : '`preprocessor_config.json` says how images are scaled.'} ` +
      `Outputs: ${outputs.map((output) => `\`${output}\``).join(', ')}, ` +
      `${isStudent ? 'both the distribution of the student' : `the ${specialists > 0 ? 'fused distribution' : 'distribution of the ensemble'} first`}. ` +
      `Weights that kd-spec added are stored in ${weights}.`,
    '',
    '## Licence',
    '',
    licence === undefined
      ? `Not stated. The licence of the original model, where there is one, and those of the ${examples} apply.`
      : `${licence.name}${licence.isFromModel ? ', as the metadata of the original model say' : ''}. The licences of the ${examples} that ${trainedOn(facts)} apply, too.`,
    '',
  ];
  return [...front, '', ...lines].join('\n');
}

/** What an ensemble is made of. */
function partsOf({ specialists, rule }: CardFacts): string {
  if (specialists === 0) {
    return (
      'a generalist alone, as an ONNX graph. No specialist was kept: the ensemble predicts the distribution of the ' +
      "generalist, at the ensemble's temperature"
    );
  }
  return (
    `a generalist and ${count(specialists)} ${specialists === 1 ? 'specialist' : 'specialists'} for the classes that it ` +
    `confuses, fused by the rule \`${rule}\` inside one ONNX graph`
  );
}

function trainedOn({ student, specialists }: CardFacts): string {
  if (student !== undefined) return 'it was trained on';
  return specialists > 0 ? 'specialists were trained on' : 'it was made with';
}

const examplesOf = ({ row }: Pick<CardFacts, 'row'>) => (row ? 'rows' : 'images');

/** What a row holds, and in which order. */
function rowText({ features, logits }: NonNullable<CardFacts['row']>): string {
  const own = `${count(features)} ${features === 1 ? 'feature' : 'features'}`;
  const given = `the ${count(logits)} logits`;
  if (features === 0) return `rows of ${given} (float32)`;
  return `rows of ${own}${logits > 0 ? ` followed by ${given}` : ''} (float32)`;
}

/**
 * Whose examples figures rest on. An imported model may know many classes of which few have images: accuracy then tells
 * nothing of the others.
 *
 * @param withExamples classes that have some; undefined in a report that does not know it
 */
function ofClasses(withExamples: number | undefined, facts: CardFacts): string {
  const { classes } = facts;
  if (withExamples === undefined) return '';
  if (withExamples === classes) return ', all classes';
  return `, of the ${count(withExamples)} classes with ${examplesOf(facts)} there, predicted among all ${count(classes)}`;
}

function studentFigures(test: NonNullable<CardFacts['student']> | null, facts: CardFacts): readonly string[] {
  const images = examplesOf(facts);
  if (test === null) return [`Not measured: \`kd-spec distill\` measures its student on test ${images}.`];
  const { examples, top1 } = test;
  const standardError = Math.sqrt((top1 * (1 - top1)) / Math.max(1, examples));
  return [
    `On ${count(examples)} ${images} of the test split${ofClasses(test.classes, facts)}: top-1 ${percentWithin(top1, standardError)}.`,
    '',
    `Harm to classes without ${images} was not measured.`,
  ];
}

function figures(report: CardReport | undefined, facts: CardFacts): readonly string[] {
  if (report === undefined)
    return ['Not measured: `kd-spec evaluate` writes a report that this card quotes.'];
  const images = examplesOf(facts);
  const { generalist, ensemble, difference, examples } = report.test;
  const { bystanders, original } = report;
  return [
    `On ${count(examples)} ${images} of the ${report.split} split${ofClasses(report.test.classes, facts)}:`,
    '',
    '| | top-1 | top-5 |',
    '|---|---|---|',
    ...(original
      ? [`| model as it was | ${percentWithin(original.top1, original.top1StandardError)} | |`]
      : []),
    `| generalist${original ? ', its last layer refitted' : ''} | ${percentWithin(generalist.top1, generalist.top1StandardError)} | ${percent(generalist.top5)} |`,
    `| ensemble | ${percentWithin(ensemble.top1, ensemble.top1StandardError)} | ${percent(ensemble.top5)} |`,
    '',
    original
      ? `Gain in top-1 over the model as it was, paired: ${signedWithin(original.difference.top1, original.difference.top1StandardError)}.`
      : `Difference in top-1, paired: ${signedWithin(difference.top1, difference.top1StandardError)}.`,
    '',
    bystanders
      ? `Harm: on ${count(bystanders.examples)} ${images} of what no specialist learned, the ensemble loses ` +
        `${percentWithin(bystanders.harm, bystanders.standardError)} against the ${original ? 'model as it was' : 'generalist'}.`
      : `Harm to classes without ${images} was not measured.`,
  ];
}

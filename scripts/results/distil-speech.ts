/**
 * Section 4 of the paper on speech: ten networks that differ by their seed alone, their averaged prediction, and one
 * network distilled from it; frame accuracy and phoneme error rate.
 *
 *     npm run build && npx tsx scripts/results/distil-speech.ts --members 10
 *
 * Networks and results are kept in the workspace folder: started again, the script goes on.
 */
import { cpSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type BackendName, selectBackend } from '../../src/compute/backend.js';
import { speakCorpus } from '../../src/data/speech/speech-source.js';
import { averageProbabilities } from './distillation/frame-probabilities.js';
import { trainMembers } from './distillation/members.js';
import {
  decodePhonemes,
  phonemeErrors,
  phonemeModel,
  spokenPhonemes,
} from './distillation/phoneme-decoder.js';
import { type Heard, renderSpeechPage, type SpeechResult } from './distillation/speech-page.js';
import { type Distilled, kdSpec, openRecord, workspaceOf } from './recorded-runs.js';
import { writeResult } from './write-result.js';

const { values } = parseArgs({
  options: {
    members: { type: 'string', default: '10' },
    classes: { type: 'string', default: '2000' },
    sentences: { type: 'string', default: '4' },
    /** Of a network; a student learns for twice as many. */
    epochs: { type: 'string', default: '2' },
    seed: { type: 'string', default: '1' },
    'student-seeds': { type: 'string', default: '1,2,3' },
    backend: { type: 'string', default: 'auto' },
    workspace: { type: 'string', default: 'kd-workspace/distil-speech' },
    out: { type: 'string', default: 'docs/results' },
  },
});
const { workspace: _, out, ...settings } = values;
const languageWeights = [1, 2, 4, 8];

const record = openRecord(join(values.workspace, 'results.json'));
const workspace = workspaceOf(values.workspace, 'pipelines/distil-speech.yaml');
const common = [
  ...['--workspace', workspace, '--seed', values.seed, '--backend', values.backend],
  ...['--classes', values.classes, '--sentences', values.sentences, '--epochs', values.epochs],
];
const members = trainMembers(workspace, Number(values.members), {
  seed: Number(values.seed),
  common,
  record,
});
const teachers = members.flatMap(({ checkpoint }) => ['--teacher', checkpoint]);
/** Trains a student unless it is kept already; the workspace holds one student at a time, so each is copied. */
const student = (seed: string, objective: 'soft-targets' | 'labels') => {
  const checkpoint = join(workspace, 'students', `${seed}-${objective}`);
  const told = join(checkpoint, 'run.json');
  if (!existsSync(checkpoint)) {
    const asked = [
      ...['--student-epochs', String(2 * Number(values.epochs))],
      ...(objective === 'labels' ? [] : teachers),
    ];
    const run = kdSpec(['distill', ...common, '--objective', objective, '--student-seed', seed, ...asked]);
    const partial = `${checkpoint}.partial`;
    rmSync(partial, { recursive: true, force: true });
    cpSync(join(workspace, 'student'), partial, { recursive: true });
    writeFileSync(join(partial, 'run.json'), JSON.stringify(run));
    renameSync(partial, checkpoint);
  }
  const run: Distilled = JSON.parse(readFileSync(told, 'utf8'));
  return { run, checkpoint };
};
const students = values['student-seeds'].split(',').map((seed) => ({
  distilled: student(seed, 'soft-targets'),
  alone: student(seed, 'labels'),
}));

async function listen(): Promise<SpeechResult> {
  const { operations } = await selectBackend(values.backend as BackendName);
  const corpus = await speakCorpus({
    seed: Number(values.seed),
    classes: Number(values.classes),
    sentences: Number(values.sentences),
  });
  const { classes, utterances } = corpus;
  const trained = readFileSync(join(workspace, 'dataset', 'classes.txt'), 'utf8').trimEnd();
  if (classes.names.join('\n') !== trained)
    throw new Error(
      `${workspace} holds other classes: give another --workspace, or the settings it was made with`,
    );
  const model = phonemeModel(classes, utterances.train);
  const errorsOf = (probabilities: readonly Float32Array[], split: 'validation' | 'test', weight: number) => {
    const counts = probabilities.map((values, index) =>
      phonemeErrors(spokenPhonemes(utterances[split][index], classes), decodePhonemes(values, model, weight)),
    );
    const sum = (what: 'errors' | 'phonemes') => counts.reduce((total, count) => total + count[what], 0);
    return { rate: sum('errors') / sum('phonemes'), phonemes: sum('phonemes') };
  };
  const validation = await averageProbabilities(operations, [members[0].checkpoint], utterances.validation);
  const rates = languageWeights.map((weight) => errorsOf(validation, 'validation', weight).rate);
  const languageWeight = languageWeights[rates.indexOf(Math.min(...rates))];
  let testPhonemes = 0;
  const hear = async (checkpoints: readonly string[]): Promise<Heard> => {
    const probabilities = await averageProbabilities(operations, checkpoints, utterances.test);
    const { rate, phonemes } = errorsOf(probabilities, 'test', languageWeight);
    testPhonemes = phonemes;
    let right = 0;
    let frames = 0;
    for (const [index, { labels }] of utterances.test.entries()) {
      frames += labels.length;
      for (const [t, label] of labels.entries()) {
        const said = probabilities[index].subarray(t * classes.names.length, (t + 1) * classes.names.length);
        if (said.indexOf(Math.max(...said)) === label) right++;
      }
    }
    return { accuracy: right / frames, phonemeErrorRate: rate };
  };
  const each: Heard[] = [];
  for (const { checkpoint } of members) each.push(await hear([checkpoint]));
  const averaged = await hear(members.map(({ checkpoint }) => checkpoint));
  const distilled = [];
  const alone = [];
  for (const pair of students) {
    distilled.push({ ...(await hear([pair.distilled.checkpoint])), run: pair.distilled.run });
    alone.push({ ...(await hear([pair.alone.checkpoint])), run: pair.alone.run });
  }
  const framesOf = (split: 'train' | 'test') =>
    utterances[split].reduce((sum, { labels }) => sum + labels.length, 0);
  return {
    settings,
    corpus: {
      classes: classes.names.length,
      trainingFrames: framesOf('train'),
      testFrames: framesOf('test'),
      testPhonemes,
    },
    languageWeight,
    members: each,
    averaged,
    distilled,
    alone,
  };
}

writeResult(out, 'distil-speech', await listen(), renderSpeechPage);

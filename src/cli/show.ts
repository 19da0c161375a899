import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findManifest } from '../core/artefact.js';
import { artefactFolder } from '../core/artefact-writer.js';
import { KdSpecError } from '../core/errors.js';
import type { JsonObject } from '../core/json.js';
import { parseJsonText } from '../core/json-file.js';
import { suggestion } from '../core/nearest-name.js';
import { percent, signedWithin } from '../core/percent.js';
import { count } from '../core/quantity-text.js';
import { readPredictions } from '../data/predictions.js';
import { detailsFileName, type StoredDetails, storedDetailsSchema } from '../evaluation/report-details.js';
import type { Settings } from '../pipeline/options.js';
import { metricsOf } from '../pipeline/stage-metrics.js';
import { type StageName, stageCommands, stageNames } from '../pipeline/stage-names.js';
import { stageSummary } from './stage-summary.js';
import { alignColumns, fitWidth } from './summary.js';

/** What is shown, for a program and for a person. */
export interface Shown {
  readonly json: JsonObject;
  readonly text: string;
}

const shownPairs = 20;
const shownNeighbours = 10;
const nameColumns = 32;

/**
 * Shows what a workspace holds: a stage by its name, one specialist, one class, or without a word the most confused classes
 * and the specialists.
 *
 * @throws KdSpecError `not-found` when the stage, or the report with its details, is not there; `usage` for other words
 */
export async function show(
  what: string | undefined,
  name: string | undefined,
  settings: Settings,
): Promise<Shown> {
  const { workspace } = settings;
  if (what === undefined) return showOverview(await readDetails(workspace));
  const stage = stageNames.find((candidate) => candidate === what || stageCommands[candidate] === what);
  if (stage !== undefined) return showStage(workspace, stage);
  if (what === 'specialist') return showSpecialist(await readDetails(workspace), name, workspace);
  if (what === 'class') return showClass(await readDetails(workspace), name, workspace);
  const words = ['specialist', 'class', 'image', ...stageNames];
  throw new KdSpecError(
    'usage',
    `expected one of ${words.join(', ')}, got "${what}"${suggestion(what, words)}`,
  );
}

/** The details of the report. */
async function readDetails(workspace: string): Promise<StoredDetails> {
  const path = join(artefactFolder(workspace, 'report'), detailsFileName);
  const text = await readFile(path, 'utf8').catch(() => {
    throw new KdSpecError('not-found', `no report with details at ${path}: run kd-spec evaluate first`);
  });
  const problem = { code: 'artefact-corrupt', advice: 'run kd-spec evaluate again' } as const;
  const parsed = storedDetailsSchema.safeParse(parseJsonText(text, path, problem));
  if (parsed.success) return parsed.data;
  throw new KdSpecError(problem.code, `${path}: expected the details of a report: ${problem.advice}`);
}

async function showStage(workspace: string, stage: StageName): Promise<Shown> {
  const folder = artefactFolder(workspace, stage);
  const manifest = await findManifest(folder);
  if (manifest === undefined) {
    throw new KdSpecError('not-found', `nothing at ${folder} yet: kd-spec ${stageCommands[stage]} makes it`);
  }
  const { metrics, seed, backend, kdSpecVersion, finishedAt, digest, parameters } = manifest;
  const made = alignColumns([
    [
      'made',
      `${finishedAt}, kd-spec ${kdSpecVersion}, seed ${seed}${backend === null ? '' : `, ${backend}`}`,
    ],
    ['hash', digest],
  ]);
  if (stage !== 'report') {
    return {
      json: { stage, metrics, parameters, seed, backend, digest, finishedAt },
      text: `${stageSummary(stage, metrics)}\n\n${made}`,
    };
  }
  const { reportSummary } = await import('./report-summary.js');
  const page = join(folder, 'index.html');
  const text = reportSummary(metrics, { page, seconds: manifest.seconds });
  return {
    json: { stage, metrics, parameters, seed, backend, digest, finishedAt },
    text: `${text}\n\n${made}`,
  };
}

/** Images of one class of a pair that were taken for the other, in either direction. */
interface Pair {
  readonly a: number;
  readonly b: number;
  generalist: number;
  ensemble: number;
}

function confusedPairs({ confusions, classes }: StoredDetails): readonly Pair[] {
  const pairs = new Map<number, Pair>();
  for (const [label, predicted, generalist, ensemble] of confusions) {
    const [a, b] = label < predicted ? [label, predicted] : [predicted, label];
    const pair = pairs.get(a * classes.length + b) ?? { a, b, generalist: 0, ensemble: 0 };
    pairs.set(a * classes.length + b, pair);
    pair.generalist += generalist;
    pair.ensemble += ensemble;
  }
  return [...pairs.values()].sort((x, y) => y.generalist - x.generalist || x.a - y.a || x.b - y.b);
}

function showOverview(details: StoredDetails): Shown {
  const { classes, specialists } = details;
  const pairs = confusedPairs(details);
  const kept = specialists.filter((specialist) => specialist.kept);
  return {
    json: {
      confused: pairs.slice(0, shownPairs).map(({ a, b, generalist, ensemble }) => ({
        classes: [classes[a], classes[b]],
        generalist,
        ensemble,
      })),
      pairs: pairs.length,
      specialists: specialists.map(({ id, classes: members, kept: isKept }) => ({
        id,
        classes: members.length,
        kept: isKept,
      })),
    },
    text: [
      `The most confused of ${count(pairs.length)} pairs of classes, images of either taken for the other:`,
      alignColumns(
        [
          ['', '', 'generalist', 'ensemble'],
          ...pairs
            .slice(0, shownPairs)
            .map(({ a, b, generalist, ensemble }) => [
              fitWidth(classes[a], nameColumns),
              fitWidth(classes[b], nameColumns),
              count(generalist),
              count(ensemble),
            ]),
        ],
        'llrr',
      ),
      `${count(kept.length)} of ${count(specialists.length)} specialists are kept. kd-spec show specialist N, kd-spec show class NAME and ` +
        'kd-spec show image FILE show one of them; kd-spec show subsets what each holds.',
    ].join('\n\n'),
  };
}

async function showSpecialist(
  { classes, specialists }: StoredDetails,
  name: string | undefined,
  workspace: string,
): Promise<Shown> {
  const found = specialists.find(({ id }) => String(id) === name);
  if (found === undefined) {
    const ids = specialists.map(({ id }) => id);
    throw new KdSpecError(
      'usage',
      `expected the number of a specialist, ${ids[0]} to ${ids.at(-1)}, got "${name ?? 'nothing'}"`,
    );
  }
  const manifest = await findManifest(artefactFolder(workspace, 'report'));
  const report = manifest && metricsOf('report', manifest.metrics);
  const gain = report?.specialists.find(({ id }) => id === found.id);
  const names = found.classes.map((label) => classes[label]);
  return {
    json: {
      id: found.id,
      kept: found.kept,
      reason: found.reason,
      classes: names,
      dustbinCorrection: found.dustbinCorrection,
      temperature: found.temperature,
      weight: found.weight,
      ...(gain && { covered: { ...gain.covered }, routed: { ...gain.routed } }),
    },
    text: [
      alignColumns([
        ['specialist', `${found.id}, ${found.kept ? 'kept' : 'left out'}`],
        ['validation', found.reason],
        ['classes', count(names.length)],
        ...(gain
          ? [
              [
                'own gain',
                `${signedWithin(gain.covered.gain, gain.covered.standardError)}, conditional top-1 on ${count(gain.covered.examples)} images of its classes`,
              ],
              [
                'ensemble’s gain',
                `${signedWithin(gain.routed.gain, gain.routed.standardError)}, top-1 on ${count(gain.routed.examples)} images for which it was active`,
              ],
            ]
          : []),
        ['dustbin', `logit raised by ${found.dustbinCorrection.toFixed(2)} nats`],
        ['temperature', found.temperature.toPrecision(3)],
        ['weight', found.weight.toPrecision(3)],
      ]),
      'Classes, the most typical first:',
      inColumns(names),
    ].join('\n\n'),
  };
}

/** A class and its neighbours: by the pairs that were confused, and by the mass that the generalist gives. */
async function showClass(
  details: StoredDetails,
  name: string | undefined,
  workspace: string,
): Promise<Shown> {
  const { classes, counts, confusions, specialists } = details;
  const label = findClass(classes, name);
  const masses = await neighbourMasses(workspace, label, classes.length);
  const takenFor = confusions.filter(([truth]) => truth === label);
  const takenAs = confusions.filter(([, predicted]) => predicted === label);
  const covering = specialists.filter((specialist) => specialist.classes.includes(label));
  const images = counts.images[label];
  const rows = (entries: StoredDetails['confusions'], side: 0 | 1) =>
    entries.slice(0, shownNeighbours).map((entry) => ({
      class: classes[entry[side]],
      generalist: entry[2],
      ensemble: entry[3],
    }));
  const json = {
    class: classes[label],
    index: label,
    images,
    generalist: counts.generalist[label],
    ensemble: counts.ensemble[label],
    specialists: covering.map(({ id, kept }) => ({ id, kept })),
    takenFor: rows(takenFor, 1),
    takenAs: rows(takenAs, 0),
    neighbours: masses.map(({ label: other, mass }) => ({ class: classes[other], probability: mass })),
  };
  const table = (entries: readonly { class: string; generalist: number; ensemble: number }[]) =>
    alignColumns(
      [
        ['', 'generalist', 'ensemble'],
        ...entries.map((entry) => [
          fitWidth(entry.class, nameColumns),
          count(entry.generalist),
          count(entry.ensemble),
        ]),
      ],
      'lrr',
    );
  const share = (correct: number) => (images === 0 ? '' : `${percent(correct / images)} (${count(correct)})`);
  return {
    json,
    text: [
      alignColumns([
        ['class', `${classes[label]} (index ${label})`],
        ['images', count(images)],
        [
          'top-1',
          images === 0
            ? 'no image in the evaluated split'
            : `${share(counts.generalist[label])} by the generalist, ${share(counts.ensemble[label])} by the ensemble`,
        ],
        [
          'specialists',
          covering.map(({ id, kept }) => `${id}${kept ? '' : ' (left out)'}`).join(', ') || 'none',
        ],
      ]),
      ...(json.takenFor.length > 0 ? ['Its images were taken for:', table(json.takenFor)] : []),
      ...(json.takenAs.length > 0 ? ['Images of these were taken for it:', table(json.takenAs)] : []),
      ...(masses.length > 0
        ? [
            'Neighbours, by the mean probability that the generalist gives them on its images:',
            alignColumns(
              masses.map(({ label: other, mass }) => [fitWidth(classes[other], nameColumns), percent(mass)]),
              'lr',
            ),
          ]
        : []),
    ].join('\n\n'),
  };
}

function findClass(classes: readonly string[], name: string | undefined): number {
  if (name === undefined)
    throw new KdSpecError('usage', 'expected the name of a class: kd-spec show class NAME');
  const exact = classes.indexOf(name);
  if (exact >= 0) return exact;
  if (/^\d{1,9}$/.test(name) && Number(name) < classes.length) return Number(name);
  const lower = name.toLowerCase();
  const alike = classes.flatMap((own, label) => (own.toLowerCase() === lower ? [label] : []));
  const containing = classes.flatMap((own, label) => (own.toLowerCase().includes(lower) ? [label] : []));
  const found = alike.length > 0 ? alike : containing;
  if (found.length === 1) return found[0];
  if (found.length > 1) {
    const names = found.slice(0, 8).map((label) => classes[label]);
    throw new KdSpecError(
      'usage',
      `"${name}" could be ${names.join(', ')}${found.length > names.length ? `, or ${found.length - names.length} others` : ''}: give the whole name`,
    );
  }
  throw new KdSpecError('not-found', `no class is named "${name}"${suggestion(name, classes)}`);
}

/** Classes that the generalist gives mass to on the images of a class, from the stored predictions. */
async function neighbourMasses(
  workspace: string,
  label: number,
  classes: number,
): Promise<readonly { readonly label: number; readonly mass: number }[]> {
  const predictions = await readPredictions(artefactFolder(workspace, 'predictions'), { classes }).catch(
    () => undefined, // an imported data set may have come with predictions of its own
  );
  if (predictions === undefined) return [];
  const masses = new Map<number, number>();
  let images = 0;
  for await (const { probabilities, labels } of predictions.rows()) {
    if (labels === undefined) return [];
    const { offsets, indices, values } = probabilities;
    for (let row = 0; row < probabilities.rows; row++) {
      if (labels[row] !== label) continue;
      images++;
      for (let entry = offsets[row]; entry < offsets[row + 1]; entry++)
        masses.set(indices[entry], (masses.get(indices[entry]) ?? 0) + values[entry]);
    }
  }
  return [...masses]
    .filter(([other]) => other !== label)
    .sort((a, b) => b[1] - a[1])
    .slice(0, shownNeighbours)
    .map(([other, mass]) => ({ label: other, mass: mass / images }));
}

/** Names side by side, as many as fit a line of a terminal. */
function inColumns(names: readonly string[], columns = 96): string {
  const shown = names.map((name) => fitWidth(name, 28));
  const perLine = Math.max(1, Math.floor(columns / 30));
  const rows = Array.from({ length: Math.ceil(shown.length / perLine) }, (_, row) =>
    Array.from({ length: perLine }, (__, column) => shown[row * perLine + column] ?? ''),
  );
  return alignColumns(rows, 'l'.repeat(perLine));
}

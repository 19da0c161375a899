import { percent } from '../core/percent.js';
import { count } from '../core/quantity-text.js';
import { isTempered, type ObjectiveKind } from '../distillation/student-objective.js';
import { type SweepPoint, sweepChart } from './curve-charts.js';
import { escapeHtml, htmlPage, htmlTable } from './html.js';

interface Accuracy {
  readonly examples: number;
  readonly errors: number;
  readonly top1: number;
}

/** What the page of a student shows. */
export interface Sweep {
  readonly objective: ObjectiveKind;
  readonly candidates: readonly SweepPoint[];
  /** Position of the one that validation chose. */
  readonly best: number;
  /** The teacher's accuracy on validation, where it is known. */
  readonly teacher: Accuracy | undefined;
  readonly student: { readonly validation: Accuracy; readonly test: Accuracy; readonly parameters: number };
}

/**
 * One self-contained page: how validation accuracy depends on the temperature, a line for each weight of the labels.
 *
 * @returns HTML without any reference to another file
 */
export function renderSweepPage(sweep: Sweep): string {
  const { candidates, best, teacher, student, objective } = sweep;
  const chosen = candidates[best];
  const isSwept = isTempered(objective);
  const said = isSwept
    ? `T = ${chosen.temperature}, the labels at weight ${chosen.hardWeight}, chosen on validation`
    : `trained on ${objective}`;
  const figures = htmlTable(
    'Every student that was trained, on validation',
    ['temperature', 'weight of labels', 'errors', 'top-1'],
    candidates.map(({ temperature, hardWeight, validation }, index) => [
      `${temperature}${index === best ? ' (chosen)' : ''}`,
      String(hardWeight),
      `${count(validation.errors)} of ${count(validation.examples)}`,
      percent(validation.top1),
    ]),
  );
  const chart = sweepChart(candidates, {
    best: chosen,
    teacher: teacher?.top1,
    description: 'Validation accuracy over the temperature',
  });
  return htmlPage(
    'The student',
    `<header><h1>Student: ${percent(student.test.top1)} top-1 on the test</h1>` +
      `<p>${escapeHtml(said)}; ${count(student.parameters)} parameters.` +
      (teacher
        ? ` On validation ${percent(student.validation.top1)}, the teacher ${percent(teacher.top1)}.`
        : '') +
      '</p></header>' +
      (isSwept
        ? `<section><h2>Accuracy over the temperature</h2>${chart}<p class="note">Bars are one standard error of the ` +
          'validation images; the ring is the student that was kept.</p></section>'
        : '') +
      `<section>${figures}</section>`,
  );
}

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { manifestName } from '../../data/dataset-files.js';
import { isTempered } from '../../distillation/student-objective.js';
import { placeTeacher } from '../../distillation/teacher-places.js';
import { ownTeachers } from '../options/answers-options.js';
import { allClasses, storedClasses, studentNetwork } from '../outline.js';
import { type CheckContext, checkBatch, ignored, invalid, needImages } from './check.js';

// Soft targets, and the student that learns from them

export function checkAnswers({ settings, origins, outline }: CheckContext): void {
  const { teachers, views } = settings.answers;
  const own: readonly string[] = ownTeachers;
  for (const teacher of teachers.filter((name) => !own.includes(name))) {
    const { kind, path } = placeTeacher(teacher);
    if (kind === 'unknown') {
      throw invalid(
        `--teacher: no teacher at ${path}: expected ensemble, generalist, the folder of a checkpoint (config.json and ` +
          'model.safetensors), of a workspace, of predictions (*.arrow, *.feather), or an .onnx file',
      );
    }
    if (kind === 'predictions' && views > 0) {
      throw invalid(
        `--transfer-views ${views}: stored predictions (${teacher}) are of the images as they are: set it to 0`,
      );
    }
  }
  if (settings.answers.transfer === null) needImages(outline, 'train', 'the transfer set');
  ignored(origins, teachers.length === 1, { 'answers.mean': 'there is one teacher' });
}

export function checkStudent({ settings, origins, outline }: CheckContext): void {
  const { objective, batchSize, transferClasses, transferWithout } = settings.student;
  const { transfer, top } = settings.answers;
  const { normalisation } = studentNetwork(settings);
  checkBatch('--student-batch-size', batchSize, normalisation, '--student-normalisation none');
  needImages(outline, 'validation', 'choosing the student');
  const classes = (outline.dataset && allClasses(outline.dataset)) ?? undefined;
  const isExact = outline.dataset?.isExact === true;
  const needsAll = objective === 'logits' || objective === 'standardised';
  if (needsAll && classes !== undefined && storedClasses(top, classes) < classes) {
    throw invalid(
      `--objective ${objective} needs the logits of all ${classes} classes, but ${storedClasses(top, classes)} of each ` +
        `prediction would be stored: add --answers-top ${classes}, or match distributions (--objective soft-targets)`,
    );
  }
  // Whether another data set has the same classes shows when it is opened; other images have no labels at all.
  const isUnlabelled = transfer !== null && !existsSync(join(transfer, manifestName));
  if (isUnlabelled && (objective === 'labels' || objective === 'decoupled')) {
    throw invalid(
      `--objective ${objective}: the images of ${transfer} have no labels: give another --transfer, or another objective`,
    );
  }
  if (isUnlabelled && (transferClasses !== null || transferWithout.length > 0)) {
    throw invalid(
      `--transfer-classes and --transfer-without choose by labels, and the images of ${transfer} have none: leave ` +
        'them out, or give a data set of kd-spec as --transfer',
    );
  }
  if (classes !== undefined) {
    for (const [flag, list] of Object.entries({ classes: transferClasses ?? [], without: transferWithout })) {
      const beyond = list.find((label) => label >= classes);
      if (beyond === undefined) continue;
      throw invalid(`--transfer-${flag} ${beyond}: expected numbers of classes from 0 to ${classes - 1}`);
    }
    const seen = new Set(transferClasses ?? Array.from({ length: classes }, (_, label) => label));
    for (const label of transferWithout) seen.delete(label);
    if (isExact && seen.size === 0) {
      throw invalid(
        '--transfer-without leaves no class for the student to learn from: leave some out of the list',
      );
    }
  }
  ignored(origins, !isTempered(objective), {
    'student.temperature': `--objective ${objective} has no soft targets`,
  });
  ignored(origins, !isTempered(objective) || objective === 'standardised', {
    'student.rest':
      objective === 'standardised'
        ? 'all classes are stored'
        : `--objective ${objective} has no soft targets`,
  });
  ignored(origins, objective !== 'decoupled', {
    'student.otherWeight': '--objective is not decoupled',
  });
  ignored(origins, objective === 'labels', {
    'student.hardWeight': '--objective labels has nothing but labels',
  });
}

import { teacherFile, transferFile } from '../../distillation/teacher-places.js';
import { ownTeachers } from '../options/answers-options.js';
import type { Settings } from '../options.js';
import type { Stage } from '../stage.js';
import type { StageResults } from '../stage-metrics.js';
import { type StageName, stageNames } from '../stage-names.js';

/** Each stage with what its work returns. */
const table: { readonly [Name in StageName]: Stage<StageResults[Name]> & { readonly name: Name } } = {
  dataset: {
    name: 'dataset',
    title: 'write the data set as Arrow shards',
    needs: () => [],
    files: (settings) => ({ ...modelFiles(settings), ...namesFile(settings) }),
    run: async (context) => (await import('./dataset.js')).makeDataset(context),
  },
  generalist: {
    name: 'generalist',
    title: 'train or import the generalist',
    needs: () => ['dataset'],
    files: modelFiles,
    run: async (context) =>
      context.settings.dataset.model.onnx === null
        ? (await import('./generalist.js')).trainGeneralist(context)
        : (await import('./imported-generalist.js')).importGeneralist(context),
  },
  predictions: {
    name: 'predictions',
    title: 'store predictions of the generalist',
    needs: () => ['dataset', 'generalist'],
    run: async (context) => (await import('./predictions.js')).predict(context),
  },
  subsets: {
    name: 'subsets',
    title: 'cluster confused classes into subsets',
    needs: ({ subsets }) => (subsets.predictions === null ? ['dataset', 'predictions'] : []),
    files: ({ subsets: { predictions, file }, dataset: { model } }) => ({
      ...(predictions !== null && { 'subsets.predictions': predictions }),
      ...(predictions !== null && model.labels !== null && { 'dataset.model.labels': model.labels }),
      ...(file !== null && { 'subsets.file': file }),
    }),
    run: async (context) => (await import('./subsets.js')).findSubsets(context),
  },
  specialists: {
    name: 'specialists',
    title: 'train one specialist per subset',
    needs: () => ['dataset', 'generalist', 'subsets'],
    run: async (context) => (await import('./specialists.js')).trainSpecialists(context),
  },
  ensemble: {
    name: 'ensemble',
    title: 'choose rule, temperatures, weights and specialists on validation',
    needs: () => ['dataset', 'generalist', 'subsets', 'specialists'],
    run: async (context) => (await import('./ensemble.js')).calibrateEnsemble(context),
  },
  rivals: {
    name: 'rivals',
    title: 'compare the specialists with what else could be done with the same images',
    needs: () => ['dataset', 'generalist', 'specialists', 'ensemble'],
    run: async (context) => (await import('./rivals.js')).measureRivals(context),
  },
  answers: {
    name: 'answers',
    title: 'store soft targets of the teacher',
    needs: ({ answers }) => ['dataset', ...answers.teachers.flatMap(stagesOfTeacher)],
    files: outsideTeachers,
    run: async (context) => (await import('./answers.js')).writeAnswers(context),
  },
  student: {
    name: 'student',
    title: 'distil the teacher into one student',
    needs: ({ student }) => (student.objective === 'labels' ? ['dataset'] : ['dataset', 'answers']),
    // With labels alone there are no soft targets, whose stage would name the transfer set as its input.
    files: (settings) => (settings.student.objective === 'labels' ? transferFiles(settings) : {}),
    run: async (context) => (await import('./student.js')).distill(context),
  },
  report: {
    name: 'report',
    title: 'evaluate generalist and ensemble',
    needs: ({ report }) => [
      'dataset',
      'generalist',
      'subsets',
      'specialists',
      'ensemble',
      ...(report.student ? (['student'] as const) : []),
      ...(report.rivals ? (['rivals'] as const) : []),
    ],
    run: async (context) => (await import('./report.js')).evaluate(context),
  },
};

/** The stages in the order of the data. Each is loaded when it runs, so that help and plans load no backend. */
export const stages: readonly Stage[] = stageNames.map((name) => table[name]);

function namesFile({ dataset: { classNames } }: Settings): Record<string, string> {
  return classNames === null ? {} : { 'dataset.classNames': classNames };
}

/** A foreign model that takes the place of a trained generalist, and the names of its classes. */
function modelFiles({ dataset: { model } }: Settings): Record<string, string> {
  return {
    ...(model.onnx !== null && { 'dataset.model.onnx': model.onnx }),
    ...(model.onnx !== null && model.labels !== null && { 'dataset.model.labels': model.labels }),
  };
}

function stagesOfTeacher(teacher: string): readonly StageName[] {
  if (teacher === 'generalist') return ['generalist'];
  return teacher === 'ensemble' ? ['generalist', 'specialists', 'ensemble'] : [];
}

function outsideTeachers(settings: Settings): Record<string, string> {
  const own: readonly string[] = ownTeachers;
  const paths = settings.answers.teachers.filter((teacher) => !own.includes(teacher));
  return {
    ...Object.fromEntries(paths.map((path, index) => [`answers.teachers.${index}`, teacherFile(path)])),
    ...transferFiles(settings),
  };
}

function transferFiles({ answers: { transfer } }: Settings): Record<string, string> {
  return transfer === null ? {} : { 'answers.transfer': transferFile(transfer) };
}

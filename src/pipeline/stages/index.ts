import { teacherFile, transferFile } from '../../distillation/teacher-places.js';
import { ownTeachers } from '../options/answers-options.js';
import type { Settings } from '../options.js';
import type { Stage } from '../stage.js';
import type { StageName } from '../stage-names.js';

/** The stages in the order of the data. Each is loaded when it runs, so that help and plans load no TensorFlow. */
export const stages: readonly Stage[] = [
  {
    name: 'dataset',
    command: 'dataset',
    title: 'write the data set as Arrow shards',
    needs: () => [],
    run: async (context) => (await import('./dataset.js')).makeDataset(context),
  },
  {
    name: 'generalist',
    command: 'train-generalist',
    title: 'train the generalist',
    needs: () => ['dataset'],
    run: async (context) => (await import('./generalist.js')).trainGeneralist(context),
  },
  {
    name: 'predictions',
    command: 'predict',
    title: "write the generalist's predictions",
    needs: () => ['dataset', 'generalist'],
    run: async (context) => (await import('./predictions.js')).predict(context),
  },
  {
    name: 'subsets',
    command: 'cluster',
    title: 'find the subsets of classes that are confused',
    needs: ({ subsets }) => (subsets.predictions === null ? ['dataset', 'predictions'] : []),
    files: ({ subsets: { predictions, file } }) => ({
      ...(predictions !== null && { 'subsets.predictions': predictions }),
      ...(file !== null && { 'subsets.file': file }),
    }),
    run: async (context) => (await import('./subsets.js')).findSubsets(context),
  },
  {
    name: 'specialists',
    command: 'train-specialists',
    title: 'train a specialist for each subset',
    needs: () => ['dataset', 'generalist', 'subsets'],
    run: async (context) => (await import('./specialists.js')).trainSpecialists(context),
  },
  {
    name: 'ensemble',
    command: 'calibrate',
    title: 'calibrate the ensemble on validation',
    needs: () => ['dataset', 'generalist', 'subsets', 'specialists'],
    run: async (context) => (await import('./ensemble.js')).calibrateEnsemble(context),
  },
  {
    name: 'answers',
    command: 'answer',
    title: "write the teacher's answers for the student",
    needs: ({ answers }) => ['dataset', ...answers.teachers.flatMap(stagesOfTeacher)],
    files: outsideTeachers,
    run: async (context) => (await import('./answers.js')).writeAnswers(context),
  },
  {
    name: 'student',
    command: 'distill',
    title: 'distil the teacher into one student',
    needs: ({ student }) => (student.objective === 'labels' ? ['dataset'] : ['dataset', 'answers']),
    // The images come from there, and are an input when nobody has answered for them.
    files: (settings) => (settings.student.objective === 'labels' ? transferFiles(settings) : {}),
    run: async (context) => (await import('./student.js')).distill(context),
  },
  {
    name: 'report',
    command: 'evaluate',
    title: 'evaluate generalist and ensemble',
    needs: ({ report }) => [
      'dataset',
      'generalist',
      'subsets',
      'specialists',
      'ensemble',
      ...(report.student ? (['student'] as const) : []),
    ],
    run: async (context) => (await import('./report.js')).evaluate(context),
  },
];

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

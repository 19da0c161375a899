/** The stages in the order of the data; also the sections of a pipeline file and the folders of a workspace. */
export const stageNames = [
  'dataset',
  'generalist',
  'predictions',
  'subsets',
  'specialists',
  'ensemble',
  'rivals',
  'answers',
  'student',
  'report',
] as const;
export type StageName = (typeof stageNames)[number];

/** The command that makes each stage's artefact. */
export const stageCommands: Readonly<Record<StageName, string>> = {
  dataset: 'dataset',
  generalist: 'train-generalist',
  predictions: 'predict',
  subsets: 'cluster',
  specialists: 'train-specialists',
  ensemble: 'calibrate',
  rivals: 'rivals',
  answers: 'answer',
  student: 'distill',
  report: 'evaluate',
};

import type { Stage } from '../stage.js';

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
    files: ({ subsets }) =>
      subsets.predictions === null ? {} : { 'subsets.predictions': subsets.predictions },
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
    name: 'report',
    command: 'evaluate',
    title: 'evaluate generalist and ensemble',
    needs: () => ['dataset', 'generalist', 'subsets', 'specialists', 'ensemble'],
    run: async (context) => (await import('./report.js')).evaluate(context),
  },
];

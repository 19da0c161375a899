// Imports go one way: a folder imports only from folders above it in this list.
const layers = [
  'core',
  'math',
  'compute',
  'data',
  'models',
  'training',
  'ensemble',
  'distillation',
  'evaluation',
  'jobs',
  'pipeline',
  'serving',
  'cli',
];

module.exports = {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'no-orphans',
      severity: 'error',
      from: {
        orphan: true,
        pathNot: [
          '\\.test\\.ts$',
          '^src/cli/main\\.ts$',
          '^src/core/thread-program\\.ts$',
          '^src/index\\.ts$',
          '^src/jobs/pool/worker\\.ts$',
          '^src/serving/model-thread-program\\.ts$',
          '^src/training/batch-thread-program\\.ts$',
        ],
      },
      to: {},
    },
    {
      name: 'no-dev-dependencies-in-source',
      severity: 'error',
      from: { path: '^src', pathNot: '\\.test\\.ts$' },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['npm-peer'] },
    },
    ...layers.map((layer, position) => ({
      name: `layer-${layer}`,
      severity: 'error',
      from: { path: `^src/${layer}/` },
      to: { path: `^src/(${[...layers.slice(position + 1), 'index'].join('|')})[/.]` },
    })),
    {
      name: 'tensorflow-js-stays-in-compute',
      comment: 'Take an Operations of src/compute/operations.ts instead.',
      severity: 'error',
      from: { path: '^src/(?!compute/)', pathNot: '\\.test\\.ts$' },
      to: { path: 'node_modules/@tensorflow/' },
    },
    {
      name: 'math-knows-nobody',
      severity: 'error',
      from: { path: '^src/math/', pathNot: '\\.test\\.ts$' },
      to: { path: '^src/(?!math/|core/)' },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
  },
};

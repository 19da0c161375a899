import type { KnipConfig } from 'knip';

// What makes a document or installs a library is a user of the code that knows how; what measures is not.
const makers = 'scripts/{figure,native,reference,schemas}.ts';

// `npm run unused` runs this twice. With tests and scripts as users, it finds exports that nothing imports. Then, in
// production mode, it finds code that only tests or measurements call: such code belongs beside them.
const isProduction = process.argv.includes('--production');

const config: KnipConfig = {
  entry: [
    'src/index.ts!',
    'src/cli/main.ts!',
    'src/jobs/pool/worker.ts!',
    'src/core/thread-program.ts!',
    'src/math/row-worker.ts!',
    'src/serving/model-thread-program.ts!',
    'src/serving/page/{main,api-page}.ts!',
    'src/training/batch-thread-program.ts!',
    `${makers}!`,
    ...(isProduction ? [] : ['scripts/**/*.ts']),
  ],
  project: [
    'src/**/*.ts!',
    '!src/**/*.test.ts!',
    `${makers}!`,
    ...(isProduction ? [] : ['scripts/**/*.ts', 'test/**/*.ts']),
  ],
  ignoreDependencies: ['@fontsource/.+', 'onnxruntime-node'],
  ignoreBinaries: ['mount', 'umount'],
  // An export that its own file uses may be there for its test, but is no dead code.
  ignoreExportsUsedInFile: isProduction ? true : { interface: true, type: true },
};

export default config;

import { randomUUID } from 'node:crypto';
import { join, resolve } from 'node:path';
import { defineConfig } from 'vitest/config';

const common = {
  // Native TensorFlow is used where a run is about it, on every machine: `auto` takes the same backend everywhere.
  env: process.env.TEST_NATIVE ? {} : { KD_SPEC_NATIVE: resolve('test', 'no-native-backend') },
  testTimeout: 240_000, // a hang, on however busy a machine
  hookTimeout: 240_000,
  pool: 'forks' as const,
  server: { deps: { external: [/\/dist\//] } }, // what is built runs as Node runs it
};
/** A folder where each run leaves its results, for a count over several runs: scripts/test-count.ts. */
const results = process.env.TEST_RESULTS;
const globalSetup = 'test/fixtures/global-setup.ts';

/**
 * `unit` and `whole` are what `npm test` runs: every feature's main checks. `slow` is for what takes long and concerns
 * rare conditions: `npm run test:slow`. `browser` needs Chromium: `scripts/browser-test.sh`.
 */
export default defineConfig({
  test: {
    maxWorkers: '100%',
    reporters: results
      ? ['default', ['json', { outputFile: join(results, `${randomUUID()}.json`) }]]
      : ['default'],
    projects: [
      // Files share processes and what these have loaded, which saves two thirds of the time.
      {
        test: {
          ...common,
          name: 'unit',
          isolate: false,
          include: ['src/**/*.test.ts'],
          setupFiles: 'test/fixtures/backend-in-force.ts',
        },
      },
      {
        test: {
          ...common,
          name: 'whole',
          isolate: false,
          include: ['test/**/*.test.ts'],
          exclude: ['test/slow/**', 'test/browser/**'],
          globalSetup,
        },
      },
      { test: { ...common, name: 'browser', include: ['test/browser/**/*.test.ts'], globalSetup } },
      { test: { ...common, name: 'slow', include: ['test/slow/**/*.test.ts'], globalSetup } },
    ],
  },
});

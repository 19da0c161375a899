import { defineConfig } from 'vitest/config';

const common = {
  testTimeout: 60_000,
  hookTimeout: 120_000,
  pool: 'forks' as const,
  server: { deps: { external: [/\/dist\//] } }, // what is built runs as Node runs it
};
const globalSetup = 'test/fixtures/global-setup.ts';

/**
 * `unit` and `whole` are what `npm test` runs: every feature's main checks. `slow` is for what takes long and concerns
 * rare conditions: `npm run test:slow`.
 */
export default defineConfig({
  test: {
    maxWorkers: '100%',
    projects: [
      { test: { ...common, name: 'unit', include: ['src/**/*.test.ts'] } },
      {
        test: {
          ...common,
          name: 'whole',
          include: ['test/**/*.test.ts'],
          exclude: ['test/slow/**'],
          globalSetup,
        },
      },
      { test: { ...common, name: 'slow', include: ['test/slow/**/*.test.ts'], globalSetup } },
    ],
  },
});

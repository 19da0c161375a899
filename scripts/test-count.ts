/**
 * Sums up runs of the tests: prints what was skipped, and `N passed, N failed`.
 *
 *     tsx scripts/test-count.ts FOLDER [STATUS]
 *
 * A STATUS of not 0, of a check that is not a test of vitest, counts as a failure where no test failed.
 *
 * With `TEST_RESULTS=FOLDER` every run of vitest leaves its results there as JSON (vitest.config.ts). A test that
 * one run skips, because another has what it needs, counts where it ran.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Results {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

const [folder, status = '0'] = process.argv.slice(2);
const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
let passed = 0;
let failed = 0;
const ran = new Set<string>();
const skipped = new Set<string>();
for (const file of files) {
  const results: Results = JSON.parse(readFileSync(join(folder, file), 'utf8'));
  passed += results.numPassedTests;
  failed += results.numFailedTests;
  for (const { name, status: end, assertionResults } of results.testResults) {
    // A file that could not be loaded has no test that failed.
    if (end === 'failed' && assertionResults.every((test) => test.status !== 'failed')) failed++;
    for (const test of assertionResults) {
      const isOver = test.status === 'passed' || test.status === 'failed';
      (isOver ? ran : skipped).add(`${name}: ${test.fullName}`);
    }
  }
}
if (status !== '0' && failed === 0) failed = 1;
const never = [...skipped].filter((test) => !ran.has(test)).sort();
if (never.length > 0) console.log(`never run, for what they need or by choice:\n  ${never.join('\n  ')}`);
console.log(`${passed} passed, ${failed} failed`);

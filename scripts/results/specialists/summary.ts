import { percent } from '../../../src/core/percent.js';
import { meanOf, signed, table, within } from '../format.js';
import { allOf, type Result, rivals, type Who } from './result.js';

export const benchmarks: Readonly<Record<string, string>> = {
  'jft-like-3k': '3,000 synthetic classes',
  'jft-like-15k': '15,000 synthetic classes',
  'han-3k': '3,000 Han characters, fonts never seen',
  'han-15k': '15,000 Han characters, fonts never seen',
};

const rivalNames: Readonly<Record<(typeof rivals)[number], string>> = {
  longer: 'trained on',
  wider: 'wider',
  thinner: 'fewer filters, wider',
  two: 'two averaged',
  three: 'three averaged',
};

/** A row a benchmark: what specialists add, what the best other use of the same computation does, and what they cost. */
export function renderSummary(results: readonly Result[]): string {
  return table(
    [
      'test top-1',
      'seeds',
      'generalist',
      'with specialists',
      'relative',
      'best rival',
      'operations of training',
      'of a prediction',
      'parameters',
    ],
    results.map((result) => {
      const top1s = (who: Who) => allOf(result, who).map(({ top1 }) => top1);
      const mean = (who: Who) => meanOf(top1s(who).map((top1) => top1.mean));
      const run = rivals.filter((rival) => allOf(result, rival).length > 0);
      const best = run.toSorted((a, b) => mean(b) - mean(a)).at(0);
      const more = (cost: 'trainingFlops' | 'flopsPerImage' | 'parameters') => {
        const of = (who: Who) => meanOf(allOf(result, who).map((one) => one[cost]));
        return signed(of('method') / of('generalist') - 1, 0);
      };
      return [
        benchmarks[result.name] ?? result.name,
        result.comparisons.length,
        percent(mean('generalist')),
        `**${within(top1s('method'))}**`,
        signed(mean('method') / mean('generalist') - 1),
        best ? `${within(top1s(best))}, ${rivalNames[best]}` : 'none was run',
        more('trainingFlops'),
        more('flopsPerImage'),
        more('parameters'),
      ];
    }),
  );
}

import { type Distilled, within } from '../recorded-runs.js';
import { typedFlags } from './idx-runs.js';

export interface TenResult {
  readonly pipeline: string;
  readonly settings: Readonly<
    Record<
      'seeds' | 'members' | 'epochs' | 'views' | 'temperatures' | 'hard-weight' | 'mean' | 'backend',
      string
    >
  > & { readonly set: readonly string[] };
  readonly seeds: readonly SeedResult[];
}

interface SeedResult {
  readonly seed: number;
  readonly classes: number;
  /** Test accuracy of each. */
  readonly members: readonly number[];
  readonly distilled: Distilled;
  /** The same student from labels alone. */
  readonly alone: Distilled;
}

/** The page of section 4 on images. */
export function renderTenPage({ pipeline, settings, seeds: results }: TenResult): string {
  const percent = (pick: (result: SeedResult) => number) => `${within(results.map((r) => 100 * pick(r)))}%`;
  const single = ({ members }: SeedResult) => members.reduce((sum, top1) => sum + top1, 0) / members.length;
  const averaged = ({ distilled }: SeedResult) => distilled.teacher?.test?.top1 ?? Number.NaN;
  const kept = (pick: (result: SeedResult) => Distilled) =>
    percent((r) => (pick(r).test.top1 - single(r)) / (averaged(r) - single(r)));
  const name = pipeline.split('/').at(-1)?.replace('.yaml', '');
  const names = results.map(({ seed }) => seed).join(', ');
  return `# Many models distilled into one (section 4): ${name}

${settings.members} models of the pipeline's generalist, ${results[0].classes.toLocaleString('en')} classes; ${results.length === 1 ? `seed ${names}` : `mean over seeds ${names} ± standard deviation between them`}. Students have the size of one model and learn for ${settings.epochs} epochs of ${settings.views} views, T chosen among ${settings.temperatures.split(',').join(', ')} on validation.

| | test top-1 | share of the gain | the paper (speech frames) |
| --- | ---: | ---: | ---: |
| one model (mean over the ${settings.members}) | ${percent(single)} | 0% | 58.9% |
| the ${settings.members}, predictions averaged | ${percent(averaged)} | 100% | 61.1% |
| one student distilled from them | ${percent(({ distilled }) => distilled.test.top1)} | ${kept(({ distilled }) => distilled)} | 60.8%, a share of 86% |
| the same student, labels alone, as long | ${percent(({ alone }) => alone.test.top1)} | ${kept(({ alone }) => alone)} | |

T chosen: ${results.map(({ distilled }) => distilled.chosen.temperature).join(', ')}.

Remake it, with every figure in \`distil-ten-${name}.json\`:

    npm run build && npx tsx scripts/results/distil-ten.ts ${pipeline} ${typedFlags(withoutSet(settings))}${settings.set.length > 0 ? ` -- ${settings.set.join(' ')}` : ''}
`;
}

function withoutSet({ set: _, ...settings }: TenResult['settings']): Readonly<Record<string, string>> {
  return settings;
}

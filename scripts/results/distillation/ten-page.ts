import { type Distilled, within } from '../recorded-runs.js';
import { typedFlags } from './idx-runs.js';

export interface TenResult {
  readonly pipeline: string;
  readonly settings: Readonly<
    Record<
      | 'seed'
      | 'student-seeds'
      | 'members'
      | 'epochs'
      | 'views'
      | 'temperatures'
      | 'hard-weight'
      | 'mean'
      | 'backend',
      string
    >
  > & { readonly set: readonly string[] };
  readonly classes: number;
  /** Test accuracy of each. */
  readonly members: readonly number[];
  /** For each seed a student of the members, and the same student from labels alone. */
  readonly students: readonly {
    readonly seed: number;
    readonly distilled: Distilled;
    readonly alone: Distilled;
  }[];
}

/** The page of section 4 on images. */
export function renderTenPage({ pipeline, settings, classes, members, students }: TenResult): string {
  const percent = (shares: readonly number[]) => `${within(shares.map((share) => 100 * share))}%`;
  const single = members.reduce((sum, top1) => sum + top1, 0) / members.length;
  const [first] = students;
  const averaged = first.distilled.teacher?.test?.top1 ?? Number.NaN;
  const kept = (top1s: readonly number[]) =>
    percent(top1s.map((top1) => (top1 - single) / (averaged - single)));
  const distilled = students.map((student) => student.distilled.test.top1);
  const alone = students.map((student) => student.alone.test.top1);
  const name = pipeline.split('/').at(-1)?.replace('.yaml', '');
  const { set, ...flags } = settings;
  return `# Many models distilled into one (section 4): ${name}

${members.length} models of the pipeline's generalist that differ by their seed, ${classes.toLocaleString('en')} classes, data of seed ${settings.seed}; ± is the standard deviation between them, and between students of seeds ${students.map(({ seed }) => seed).join(', ')}. Students have the size of one model (${first.distilled.parameters.toLocaleString('en')} parameters) and learn for ${settings.epochs} epochs of ${settings.views} views, T chosen among ${settings.temperatures.split(',').join(', ')} on validation.

| | test top-1 | share of the gain | the paper (speech frames) |
| --- | ---: | ---: | ---: |
| one model | ${percent(members)} | 0% | 58.9% |
| the ${members.length}, predictions averaged | ${percent([averaged])} | 100% | 61.1% |
| one student distilled from them | ${percent(distilled)} | ${kept(distilled)} | 60.8%, a share of 86% |
| the same student, labels alone, as long | ${percent(alone)} | ${kept(alone)} | |

T chosen: ${students.map((student) => student.distilled.chosen.temperature).join(', ')}.

Remake it, with every figure in \`distil-ten-${name}.json\`:

    npm run build && npx tsx scripts/results/distil-ten.ts ${pipeline} ${typedFlags(flags)}${set.length > 0 ? ` -- ${set.join(' ')}` : ''}
`;
}

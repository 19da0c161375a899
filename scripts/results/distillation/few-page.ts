import { type Distilled, within } from '../recorded-runs.js';
import { type IdxSettings, typedFlags } from './idx-runs.js';

export interface FewResult {
  readonly settings: Omit<IdxSettings, 'workspace'> & {
    readonly share: string;
    readonly 'few-epochs': string;
    readonly 'few-views': string;
    readonly 'few-batch': string;
    readonly temperature: string;
  };
  readonly seeds: readonly (Readonly<Record<'full' | 'hard' | 'soft', Distilled>> &
    Readonly<Partial<Record<'hardMoved' | 'softMoved', Distilled>>> & { readonly seed: number })[];
}
type Who = 'full' | 'hard' | 'soft' | 'hardMoved' | 'softMoved';

/** The page of section 6. */
export function renderFewPage({ settings, seeds: results }: FewResult): string {
  const curveOf = (result: (typeof results)[number], who: Who) => result[who]?.sweep[0].curve ?? [];
  const last = (who: Who, what: 'train' | 'test') =>
    results.map((result) => 100 * (curveOf(result, who).at(-1)?.[what] ?? Number.NaN));
  /** Test accuracy of the epoch that is best on validation. */
  const stopped = (who: Who) =>
    results.map((result) => {
      const curve = curveOf(result, who);
      if (curve.length === 0) return Number.NaN;
      return 100 * curve.reduce((best, point) => (point.validation > best.validation ? point : best)).test;
    });
  const full = stopped('full');
  const share = (of: readonly number[]) =>
    `${within(results.map((_, index) => (100 * of[index]) / full[index]))}%`;
  const percent = 100 * Number(settings.share);
  const epochs = Number(settings['few-epochs']);
  const shown = [1, 2, 5, 10, 20, 40, 60, 80, 120, 200].filter((epoch) => epoch <= epochs);
  const row = (label: string, who: Who, paper: string) =>
    `| ${label} | ${within(last(who, 'train'))}% | ${within(last(who, 'test'))}% | ${within(stopped(who))}% | ${share(last(who, 'test'))} | ${share(stopped(who))} | ${paper} |`;
  const areMoved = results.every(({ softMoved }) => softMoved);
  const soft = `soft at T = ${settings.temperature}`;
  const movedRows = areMoved
    ? `
${row(`${percent}%, moved, hard`, 'hardMoved', '')}
${row(`${percent}%, moved, ${soft}`, 'softMoved', '')}`
    : '';
  const curves: Readonly<Partial<Record<Who, string>>> = {
    hard: 'hard',
    soft: 'soft',
    ...(areMoved && { hardMoved: 'hard, moved', softMoved: 'soft, moved' }),
  };
  const names = results.map(({ seed }) => seed).join(', ');
  return `# Soft targets with ${percent}% of the data (section 6)

${results[0].soft.transferImages.toLocaleString('en')} training images (${percent}%) of ${settings.source.split('/').at(-1)}, a student of 2 × 800; ${results.length === 1 ? `seed ${names}` : `mean over seeds ${names} ± standard deviation`}. The teacher of section 3 saw all images. A share is of the test accuracy that all images with hard labels reach with early stopping.${areMoved ? ` *Moved*: the student sees ${settings['few-views']} views of each image in turn, moved by up to two pixels each way, and the teacher is asked about each.` : ''}

| training set and targets | train accuracy | test accuracy, last epoch | with early stopping | share, last epoch | share, early stopping | the paper (speech): train, test |
| --- | ---: | ---: | ---: | ---: | ---: | --- |
${row('all images, hard', 'full', '63.4%, 58.9%')}
${row(`${percent}%, hard`, 'hard', '67.3%, 44.5% (early stopping), a share of 76%')}
${row(`${percent}%, ${soft}`, 'soft', '65.4%, 57.0% (converged), a share of 97%')}${movedRows}

Test accuracy over the epochs with ${percent}% of the data:

| epoch | ${shown.join(' | ')} |
| --- | ${shown.map(() => '---:').join(' | ')} |
${Object.entries(curves)
  .map(([key, label]) => {
    const who = key as Who;
    const at = (epoch: number) =>
      within(results.map((r) => 100 * (curveOf(r, who)[epoch - 1]?.test ?? Number.NaN)));
    return `| ${label} | ${shown.map((epoch) => `${at(epoch)}%`).join(' | ')} |`;
  })
  .join('\n')}

Remake it, with every figure in \`distil-few.json\`:

    npm run build && npx tsx scripts/results/distil-few.ts ${typedFlags({ ...settings })}

It goes on in the workspaces of \`distil-idx.ts\`; where there are none it trains the teachers first. Early stopping takes the epoch that is best on validation.
`;
}

import { cpSync, existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { kdSpec, type openRecord } from '../recorded-runs.js';

/** One of several generalists that differ by their seed alone. */
export interface Member {
  /** Accuracy on the test. */
  readonly top1: number;
  /** The folder of its checkpoint. */
  readonly checkpoint: string;
}

/** Trains generalists of a workspace with other seeds, and keeps a copy of each; those that are there stay. */
export function trainMembers(
  workspace: string,
  count: number,
  {
    seed,
    common,
    record,
  }: {
    readonly seed: number;
    readonly common: readonly string[];
    readonly record: ReturnType<typeof openRecord>;
  },
): readonly Member[] {
  return Array.from({ length: count }, (_, index) => {
    const member = index + 1;
    const checkpoint = join(workspace, 'members', String(member));
    const own = ['--generalist-seed', String(1000 * seed + member)];
    if (!existsSync(checkpoint)) {
      kdSpec(['train-generalist', ...common, ...own]);
      const partial = `${checkpoint}.partial`;
      rmSync(partial, { recursive: true, force: true });
      cpSync(join(workspace, 'generalist'), partial, { recursive: true });
      renameSync(partial, checkpoint);
    }
    const { top1 } = record.once<{ top1: number }>(`seed ${seed}: member ${member}`, [
      'predict',
      ...common,
      ...own,
      '--predict-split',
      'test',
    ]);
    return { top1, checkpoint };
  });
}

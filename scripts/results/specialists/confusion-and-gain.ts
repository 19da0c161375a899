import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { classColumns } from '../../../src/ensemble/confusion/class-columns.js';
import { confusionInsideEach } from '../../../src/ensemble/subsets/subset-summary.js';
import { readSubsets } from '../../../src/ensemble/subsets/subsets-file.js';
import type { Report } from '../../../src/evaluation/report.js';
import { readSafetensors } from '../../../src/models/safetensors.js';

/** How much of the confusion of its classes a subset holds, and what its specialist gained on test images. */
export interface ConfusionAndGain {
  readonly id: number;
  /** Share of the confusion of the subset's classes that is with one another. */
  readonly inside: number;
  /** The specialist's accuracy less the generalist's on images of its classes, restricted to these. */
  readonly covered: number;
  /** The ensemble's accuracy less the generalist's, all classes, on the images about which it was asked. */
  readonly routed: number;
}

/** Of each kept specialist of a workspace with a report. */
export async function confusionAndGains(workspace: string): Promise<readonly ConfusionAndGain[]> {
  const { classes, subsets } = await readSubsets(join(workspace, 'subsets', 'subsets.json'));
  const affinity = await readSafetensors(join(workspace, 'subsets', 'affinity.safetensors'));
  const values = (name: string) => affinity.get(name)?.values ?? [];
  const inside = confusionInsideEach(
    subsets,
    classColumns({
      rows: classes,
      columns: classes,
      offsets: Int32Array.from(values('offsets')),
      indices: Int32Array.from(values('indices')),
      values: Float32Array.from(values('values')),
    }),
  );
  const { specialists }: Report = JSON.parse(readFileSync(join(workspace, 'report', 'report.json'), 'utf8'));
  return specialists.map(({ id, covered, routed }) => ({
    id,
    inside: inside[subsets.findIndex((subset) => subset.id === id)],
    covered: covered.gain,
    routed: routed.gain,
  }));
}

/** Pearson's coefficient of two lists of the same length. */
export function correlation(a: readonly number[], b: readonly number[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [meanA, meanB] = [mean(a), mean(b)];
  const product = (x: readonly number[], meanX: number, y: readonly number[], meanY: number) =>
    x.reduce((sum, value, index) => sum + (value - meanX) * (y[index] - meanY), 0);
  return product(a, meanA, b, meanB) / Math.sqrt(product(a, meanA, a, meanA) * product(b, meanB, b, meanB));
}

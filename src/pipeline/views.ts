import type { Bystanders } from '../data/bystanders.js';
import type { Dataset } from '../data/dataset.js';
import type { Settings } from './options.js';

/** Unless images are many and the model is imported. */
export const usualViews = 4;
const mostPassed = 12_000; // images that pass an imported model, each view counted

/**
 * How many augmented views of each training image specialists learn from, and what is compared with them.
 *
 * What nobody chose depends on what a view costs. The lower layers of a generalist of our own are small. An imported
 * model's may be most of the time of a patch, and the more images there are, the less another view of each adds: from 1
 * to 4 views, as many as keep to 12,000 images in all.
 *
 * @param images of the training split and of the bystanders that teach; a plan does not know how many of these there are
 */
export function viewsOf({ dataset, specialists }: Settings, images: number): number {
  if (specialists.views !== null) return specialists.views;
  if (dataset.model.onnx === null) return usualViews;
  return Math.min(usualViews, Math.max(1, Math.floor(mostPassed / Math.max(1, images))));
}

/**
 * {@link viewsOf} a data set with its bystanders; 1 where augmentation is none, and all views would be the same.
 *
 * @param chosen by an option of its own, for what need not see the views of specialists
 */
export function viewsOfDataset(
  settings: Settings,
  { splits, augmentation }: Pick<Dataset, 'splits' | 'augmentation'>,
  bystanders: Pick<Bystanders, 'teach'> | undefined,
  chosen: number | null = null,
): number {
  if (augmentation.kind === 'none') return 1;
  return chosen ?? viewsOf(settings, splits.train.rows + (bystanders?.teach.rows ?? 0));
}

/** Whether there are fewer views than usual though nobody asked for that. */
export function hasFewerViews(
  { specialists }: Settings,
  { augmentation }: Pick<Dataset, 'augmentation'>,
  views: number,
): boolean {
  return specialists.views === null && augmentation.kind !== 'none' && views < usualViews;
}

import { KdSpecError } from '../../core/errors.js';

/** How many points a cluster may hold. */
export interface SizeBounds {
  readonly minSize: number;
  readonly maxSize: number;
}

/** @throws KdSpecError `subsets-invalid` when no partition keeps to the bounds, with those that would do */
export function checkBounds(classes: number, clusters: number, { minSize, maxSize }: SizeBounds): void {
  const invalid = (message: string) => new KdSpecError('subsets-invalid', message);
  for (const [name, value] of Object.entries({ clusters, minSize, maxSize })) {
    if (Number.isInteger(value) && value >= (name === 'minSize' ? 0 : 1)) continue;
    throw invalid(`expected ${name} to be a whole number from 1, but got ${value}`);
  }
  if (clusters > classes) {
    throw invalid(`${clusters} subsets cannot be made of ${classes} classes: ask for at most ${classes}`);
  }
  if (clusters * minSize > classes) {
    throw invalid(
      `${clusters} subsets of at least ${minSize} classes need ${clusters * minSize} classes, but there are ` +
        `${classes}: use a least size of at most ${Math.floor(classes / clusters)}, or at most ` +
        `${Math.floor(classes / minSize)} subsets`,
    );
  }
  if (clusters * maxSize < classes) {
    throw invalid(
      `${clusters} subsets of at most ${maxSize} classes hold ${clusters * maxSize} classes, but there are ` +
        `${classes}: use a largest size of at least ${Math.ceil(classes / clusters)}, or at least ` +
        `${Math.ceil(classes / maxSize)} subsets`,
    );
  }
}

/** Images and correct predictions of each class, (classes) each. */
export interface ClassCounts {
  readonly images: readonly number[];
  readonly generalist: readonly number[];
  readonly ensemble: readonly number[];
}

/** How often images of one class were taken for another: an entry of both confusion matrices off their diagonals. */
export interface Confusion {
  readonly label: number;
  readonly predicted: number;
  /** Images of `label` for which the generalist predicted `predicted`. */
  readonly generalist: number;
  readonly ensemble: number;
}

/** Confusions, the most frequent first. */
export interface ClassConfusions {
  readonly counts: ClassCounts;
  readonly confusions: readonly Confusion[];
  /** Images whose confusion is not listed, since there were more than `mostConfusions`. */
  readonly unlisted: { readonly generalist: number; readonly ensemble: number };
}

const mostConfusions = 200_000; // 3 MB of a page

/**
 * Counts what generalist and ensemble take each class for.
 *
 * @param classes the number of classes; `add` takes the label and the most probable class of each
 * Cost: an entry for each pair of classes that is confused.
 */
export function createClassConfusions(classes: number) {
  const images = new Int32Array(classes);
  const correct = { generalist: new Int32Array(classes), ensemble: new Int32Array(classes) };
  const entries = new Map<number, { generalist: number; ensemble: number }>();
  return {
    add(label: number, first: { readonly generalist: number; readonly ensemble: number }): void {
      images[label]++;
      for (const who of ['generalist', 'ensemble'] as const) {
        const predicted = first[who];
        if (predicted === label) {
          correct[who][label]++;
          continue;
        }
        const key = label * classes + predicted;
        const entry = entries.get(key) ?? { generalist: 0, ensemble: 0 };
        entries.set(key, entry);
        entry[who]++;
      }
    },
    result(): ClassConfusions {
      const sorted = [...entries]
        .map(([key, entry]): Confusion => {
          const label = Math.floor(key / classes);
          return { label, predicted: key - label * classes, ...entry };
        })
        .sort(
          (a, b) =>
            b.generalist - a.generalist ||
            b.ensemble - a.ensemble ||
            a.label - b.label ||
            a.predicted - b.predicted,
        );
      const rest = sorted.slice(mostConfusions);
      const total = (who: 'generalist' | 'ensemble') => rest.reduce((sum, entry) => sum + entry[who], 0);
      return {
        counts: {
          images: [...images],
          generalist: [...correct.generalist],
          ensemble: [...correct.ensemble],
        },
        confusions: sorted.slice(0, mostConfusions),
        unlisted: { generalist: total('generalist'), ensemble: total('ensemble') },
      };
    },
  };
}

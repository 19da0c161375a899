import type { GraphWriter } from '../../models/onnx/graph-writer.js';
import { smallestSoftmax } from './distributions.js';

// A rule's third form: nodes of an ONNX graph. Strings name values of the graph.

/** The specialists that are queried for each image. */
export interface Active {
  /** Most specialists of an image. */
  readonly slots: number;
  /** (batch, slots), positions, ascending; {@link none} stands for none. */
  readonly ids: string;
  /** The number of specialists. */
  readonly none: number;
  /** Classes of the largest subset. */
  readonly largest: number;
  /** (batch, slots, largest), class indices; the number of classes fills up. */
  readonly classIds: string;
  /** (batch, slots, 1) each: the weight, where there is no specialist 0, and its share beside the generalist's of 1. */
  readonly weight: string;
  readonly share: string;
  /** (batch, slots, 1), what the mass of the subset is multiplied by before all is scaled to 1; whether that changes any. */
  readonly lift: string;
  readonly isShifted: boolean;
  /** (batch, slots, 1) */
  readonly inverseTemperature: string;
  /** Whether no two subsets share a class. */
  readonly areDisjoint: boolean;
  /** Whether some class is outside all subsets of an image, whichever are queried. */
  readonly leavesClasses: boolean;
  /**
   * (specialists + 1, classes + 1), booleans: which subset holds which class. Computed of class indices, and only once where
   * a runtime folds constants.
   */
  readonly isMember: string;
  /** The most subsets that share a class. */
  readonly mostPerClass: number;
  /** (classes + 1, mostPerClass), the specialists whose subsets hold a class; none holds what fills up. */
  readonly covering: string;
}

/** What they predict, too: what the graph form of a rule is given. */
export interface Queried extends Active {
  /** (batch, slots, largest + 1), the dustbin last, its correction and its anchor added. */
  readonly logits: string;
}

/** A logit that leaves nothing to a class that only fills a subset up. */
export const never = -1e9;

/** The logarithm of a probability, which a softmax may have rounded to 0. */
export function logOf(graph: GraphWriter, x: string): string {
  return graph.node('Log', [graph.node('Max', [x, graph.scalar(smallestSoftmax)])]);
}

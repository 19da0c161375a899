/** What a specialist's softmax is over: the subset and its dustbin (section 5.2), or all classes (section 6). */
export const specialistHeads = ['dustbin', 'full'] as const;
export type SpecialistHead = (typeof specialistHeads)[number];

/**
 * The head's output for each class of the data set.
 *
 * The subset comes first, in its order. Then comes one dustbin for all other classes, or in a full head each of them,
 * ascending: so that the subset is one stretch of the outputs and its dustbin another.
 *
 * @param classes the subset, (s)
 * @returns (classes of the data set)
 */
export function outputsByClass(
  head: SpecialistHead,
  classes: readonly number[],
  datasetClasses: number,
): Int32Array {
  const outputs = new Int32Array(datasetClasses).fill(classes.length);
  for (const [output, label] of classes.entries()) outputs[label] = output;
  if (head === 'dustbin') return outputs;
  const members = new Set(classes);
  let next = classes.length;
  for (let label = 0; label < datasetClasses; label++) if (!members.has(label)) outputs[label] = next++;
  return outputs;
}

/** How many outputs {@link outputsByClass} numbers. */
export function headOutputs(
  head: SpecialistHead,
  classes: readonly number[],
  datasetClasses: number,
): number {
  return head === 'dustbin' ? classes.length + 1 : datasetClasses;
}

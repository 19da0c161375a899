import { join } from 'node:path';
import { z } from 'zod';
import type { Operations, Tensor2D } from '../../compute/operations.js';
import { KdSpecError } from '../../core/errors.js';
import {
  checkpointFiles,
  checkTensors,
  networkDefinitionSchema,
  readConfig,
  writeConfig,
} from '../../models/checkpoint.js';
import { type Network, networkFromTensors, networkValues } from '../../models/network.js';
import {
  hiddenFeatures,
  type NetworkPart,
  networkParts,
  networkTensors,
} from '../../models/network-definition.js';
import { type HostTensor, readSafetensors, writeSafetensors } from '../../models/safetensors.js';

/**
 * What a specialist's softmax is over: the subset and its dustbin (section 5.2), or all classes (section 6). An anchored
 * dustbin has the generalist's own logit for all that lies outside, and learns what that lacks; see `dustbinAnchor`.
 */
export const specialistHeads = ['dustbin', 'anchored', 'full'] as const;
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
  if (head !== 'full') return outputs;
  const members = new Set(classes);
  let next = classes.length;
  for (let label = 0; label < datasetClasses; label++) if (!members.has(label)) outputs[label] = next++;
  return outputs;
}

/** How many outputs {@link outputsByClass} numbers. */
function headOutputs(head: SpecialistHead, classes: readonly number[], datasetClasses: number): number {
  return head === 'full' ? datasetClasses : classes.length + 1;
}

/** How much of the generalist a specialist trains: the head, the dense layers with it, or everything. */
export type Retrain = 'head' | 'top' | 'all';

/** The first part of the network that a specialist trains; the parts before it stay the generalist's. */
export const firstTrainedPart: Readonly<Record<Retrain, NetworkPart>> = {
  head: 'head',
  top: 'dense',
  all: 'convolutions',
};

const specialistConfigSchema = z.strictObject({
  kind: z.literal('specialist'),
  id: z.int().nonnegative(),
  /** The subset, in the order of the head's outputs; after the last of them come those that `head` names. */
  classes: z.array(z.int().nonnegative()).min(1).readonly(),
  /** One output for the dustbin, or one for each class outside the subset, ascending. */
  head: z.enum(specialistHeads).default('dustbin'),
  retrain: z.enum(['head', 'top', 'all']),
  network: networkDefinitionSchema,
  dustbin: z.strictObject({
    specialExamples: z.int().nonnegative(),
    otherExamples: z.int().nonnegative(),
    sampledSpecialFraction: z.number(),
    /** Added at inference to the dustbin's logit: to that of every class outside the subset. */
    correction: z.number(),
    /** When outsiders were drawn by the generalist's mass on the subset: what corrects that at each image. */
    routed: z
      .strictObject({ share: z.number().min(0).max(1), meanMass: z.number().positive() })
      .exactOptional(),
  }),
  /** KL divergence, in nats, of the first prediction from the generalist's, collapsed; 0 where it starts from it. */
  firstDivergence: z.number(),
});

/** What `config.json` of a specialist says. */
export type SpecialistConfig = z.infer<typeof specialistConfigSchema>;

/** A specialist as it is stored; `SpecialistNetworks` predicts. */
export interface Specialist {
  readonly config: SpecialistConfig;
  /** All tensors of its network: the trained ones are its own, the others the generalist's. */
  readonly values: ReadonlyMap<string, HostTensor>;
}

/**
 * A specialist before training (section 5.2): every tensor is the generalist's; the head holds the rows of the
 * subset and one more row for the dustbin.
 *
 * @param classes the subset, (s)
 * @param dustbin its weights are (features); the bias already holds what undoes training's over-sampling
 * @returns a network with s + 1 outputs, the dustbin last
 */
export async function createSpecialist(
  generalist: Network,
  classes: readonly number[],
  { weights, bias }: { readonly weights: Float32Array; readonly bias: number },
): Promise<Network> {
  const rows = classes.map((label): HeadRow => ({ label, raised: 0 }));
  return withHead(generalist, [...rows, { weights, bias }]);
}

/**
 * A specialist over all classes before training (section 6): the generalist, with the head's outputs in the order of
 * `outputsByClass`.
 *
 * @param raised added to the bias of every class outside the subset, in nats, to undo the over-sampling of training
 * @returns a network with as many outputs as the generalist has
 */
export async function createFullSpecialist(
  generalist: Network,
  classes: readonly number[],
  raised: number,
): Promise<Network> {
  const rows: HeadRow[] = [];
  outputsByClass('full', classes, generalist.definition.outputs).forEach((output, label) => {
    rows[output] = { label, raised: output < classes.length ? 0 : raised };
  });
  return withHead(generalist, rows);
}

/** A row of a head: the generalist's for a class, its bias raised; or another. */
type HeadRow =
  | { readonly label: number; readonly raised: number }
  | { readonly weights: Float32Array; readonly bias: number };

async function withHead(generalist: Network, rows: readonly HeadRow[]): Promise<Network> {
  const outputs = rows.length;
  const { copiesLogits, ...own } = generalist.definition;
  const definition = { ...own, outputs };
  const { operations } = generalist;
  const values = await networkValues(generalist, { withHead: false });
  const features = hiddenFeatures(definition);
  let weights = new Float32Array(0); // (features, outputs)
  let generalistBias = new Float32Array(generalist.definition.outputs);
  if (copiesLogits) {
    weights = new Float32Array(features * outputs);
    const first = features - generalistBias.length;
    for (const [output, row] of rows.entries())
      if ('label' in row) weights[(first + row.label) * outputs + output] = 1;
  } else {
    generalistBias = (await operations.read(generalist.variable('head.bias'))).slice();
    const gathered = operations.tidy(() => {
      const labels = Int32Array.from(rows, (row) => ('label' in row ? row.label : 0));
      const columns = operations.tensor(labels, [outputs]);
      return operations.gatherColumns(generalist.variable<Tensor2D>('head.weights'), columns);
    });
    weights = (await operations.read(gathered)).slice();
    gathered.dispose();
  }
  const bias = new Float32Array(outputs);
  for (const [output, row] of rows.entries()) {
    bias[output] = 'label' in row ? generalistBias[row.label] + row.raised : row.bias;
    if ('label' in row) continue;
    for (let feature = 0; feature < features; feature++)
      weights[feature * outputs + output] = row.weights[feature];
  }
  values.set('head.weights', { shape: [features, outputs], values: weights });
  values.set('head.bias', { shape: [outputs], values: bias });
  return networkFromTensors(generalist.operations, definition, values);
}

/** Writes `config.json` and, in `model.safetensors`, the tensors that the specialist trained. */
export async function saveSpecialist(directory: string, { config, values }: Specialist): Promise<void> {
  const own = ownTensorNames(config);
  const trained = [...values].filter(([name]) => own.has(name));
  await writeSafetensors(join(directory, checkpointFiles.model), new Map(trained), {
    specialist: String(config.id),
  });
  await writeConfig(directory, config);
}

/**
 * Loads a specialist; what it did not train comes from the generalist.
 *
 * @param generalist the tensors of the generalist it was made from, as `networkValues` returns them
 * @param datasetClasses the generalist's classes
 * @throws KdSpecError `not-found` or `checkpoint-invalid`
 */
export async function loadSpecialist(
  directory: string,
  generalist: ReadonlyMap<string, HostTensor>,
  datasetClasses: number,
): Promise<Specialist> {
  const config = await readConfig(directory, specialistConfigSchema);
  const { head, classes, network } = config;
  const outputs = headOutputs(head, classes, datasetClasses);
  if (network.outputs !== outputs) {
    const what = head === 'full' ? 'all classes' : `${classes.length} classes and a dustbin`;
    throw new KdSpecError(
      'checkpoint-invalid',
      `${directory}: ${what} need ${outputs} outputs, the network has ${network.outputs}; train the specialist again`,
    );
  }
  const path = join(directory, checkpointFiles.model);
  const own = ownTensorNames(config);
  const values = new Map([...generalist].filter(([name]) => !own.has(name)));
  for (const [name, value] of await readSafetensors(path)) values.set(name, value);
  checkTensors(path, network, values);
  return { config, values };
}

function ownTensorNames({ network, retrain }: Pick<SpecialistConfig, 'network' | 'retrain'>): Set<string> {
  const first = networkParts.indexOf(firstTrainedPart[retrain]);
  const own = networkTensors(network).filter(({ part }) => networkParts.indexOf(part) >= first);
  return new Set(own.map(({ name }) => name));
}

/**
 * The logits of a full head, with all that are not of the subset as one, the dustbin's:
 *
 *     z_dustbin = log sum over i outside S of exp(z_i)
 *
 * The softmax of what is returned is the softmax over all classes, summed outside S. All that comes after it (routing,
 * fusion, calibration, report) need not know which head there is.
 *
 * @param logits (images, classes), in the order of `outputsByClass`
 * @param inside s
 * @returns (images, s + 1), the dustbin last
 */
export function collapseLogits(operations: Operations, logits: Tensor2D, inside: number): Tensor2D {
  return operations.tidy(() => {
    const dustbin = operations.rowLogSumExps(operations.columnRange(logits, inside)); // (images)
    const column = operations.reshape(dustbin, [dustbin.size, 1]);
    return operations.concat<Tensor2D>([operations.columnRange(logits, 0, inside), column], 1);
  });
}

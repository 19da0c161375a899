import { join } from 'node:path';
import { z } from 'zod';
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
import type { DustbinRow } from './dustbin-row.js';

/** How much of the generalist a specialist trains anew: the head, the dense layers with it, or everything. */
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
  /** The subset, in the order of the head's outputs; the dustbin is the output after the last. */
  classes: z.array(z.int().nonnegative()).min(1).readonly(),
  retrain: z.enum(['head', 'top', 'all']),
  network: networkDefinitionSchema,
  dustbin: z.strictObject({
    specialExamples: z.int().nonnegative(),
    otherExamples: z.int().nonnegative(),
    sampledSpecialFraction: z.number(),
    /** Added to the dustbin's logit at inference. */
    correction: z.number(),
    /** When outsiders were drawn by the generalist's mass on the subset: what corrects that at each image. */
    routed: z
      .strictObject({ share: z.number().min(0).max(1), meanMass: z.number().positive() })
      .exactOptional(),
  }),
  /** KL divergence, in nats, of the first prediction from the generalist's, collapsed. */
  firstDivergence: z.number(),
});

/** What `config.json` of a specialist says. */
export type SpecialistConfig = z.infer<typeof specialistConfigSchema>;

/** A specialist that can answer: the trained tensors are its own, the others the generalist's. */
export interface Specialist {
  readonly config: SpecialistConfig;
  readonly network: Network;
}

/**
 * A specialist before training (section 5.2): every tensor is the generalist's; the head holds the rows of the
 * subset and one more row for the dustbin.
 *
 * @param classes the subset, (s)
 * @param dustbin its weights are (features); the bias already holds what training's over-sampling asks for
 * @returns a network with s + 1 outputs, the dustbin last
 */
export async function createSpecialist(
  generalist: Network,
  classes: readonly number[],
  dustbin: Pick<DustbinRow, 'weights' | 'bias'>,
): Promise<Network> {
  const definition = { ...generalist.definition, outputs: classes.length + 1 };
  const values = await networkValues(generalist);
  const head = { weights: values.get('head.weights'), bias: values.get('head.bias') };
  if (!head.weights || !head.bias) throw new Error('kd-spec defect: a network without a head');

  const features = hiddenFeatures(definition);
  const columns = generalist.definition.outputs;
  const weights = new Float32Array(features * (classes.length + 1)); // (features, s + 1)
  for (let feature = 0; feature < features; feature++) {
    const start = feature * (classes.length + 1);
    for (const [output, label] of classes.entries()) {
      weights[start + output] = head.weights.values[feature * columns + label];
    }
    weights[start + classes.length] = dustbin.weights[feature];
  }
  const { values: generalistBias } = head.bias;
  const bias = Float32Array.from([...classes.map((label) => generalistBias[label]), dustbin.bias]); // (s + 1)

  values.set('head.weights', { shape: [features, classes.length + 1], values: weights });
  values.set('head.bias', { shape: [classes.length + 1], values: bias });
  return networkFromTensors(definition, values);
}

/** Writes `config.json` and, in `model.safetensors`, the tensors that the specialist trained. */
export async function saveSpecialist(directory: string, { config, network }: Specialist): Promise<void> {
  const own = ownTensorNames(config);
  const values = [...(await networkValues(network))].filter(([name]) => own.has(name));
  await writeSafetensors(join(directory, checkpointFiles.model), new Map(values), {
    specialist: String(config.id),
  });
  await writeConfig(directory, config);
}

/**
 * Loads a specialist; what it did not train comes from the generalist.
 *
 * @param generalist the tensors of the generalist it was made from, as `networkValues` returns them
 * @throws KdSpecError `not-found` or `checkpoint-invalid`
 */
export async function loadSpecialist(
  directory: string,
  generalist: ReadonlyMap<string, HostTensor>,
): Promise<Specialist> {
  const config = await readConfig(directory, specialistConfigSchema);
  if (config.network.outputs !== config.classes.length + 1) {
    throw new KdSpecError(
      'checkpoint-invalid',
      `${directory}: ${config.classes.length} classes and a dustbin need ${config.classes.length + 1} outputs, the network has ${config.network.outputs}; train the specialist again`,
    );
  }
  const path = join(directory, checkpointFiles.model);
  const own = ownTensorNames(config);
  const values = new Map([...generalist].filter(([name]) => !own.has(name)));
  for (const [name, value] of await readSafetensors(path)) values.set(name, value);
  checkTensors(path, config.network, values);
  return { config, network: networkFromTensors(config.network, values) };
}

function ownTensorNames({ network, retrain }: Pick<SpecialistConfig, 'network' | 'retrain'>): Set<string> {
  const first = networkParts.indexOf(firstTrainedPart[retrain]);
  const own = networkTensors(network).filter(({ part }) => networkParts.indexOf(part) >= first);
  return new Set(own.map(({ name }) => name));
}

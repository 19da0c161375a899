import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Operations } from '../compute/operations.js';
import { KdSpecError } from '../core/errors.js';
import { parseJson } from '../core/json-file.js';
import { expectRoom, type Network, networkFromTensors } from './network.js';
import {
  countParameters,
  hiddenFeatures,
  type NetworkDefinition,
  networkTensors,
} from './network-definition.js';
import { type HostTensor, readSafetensors } from './safetensors.js';

/** The files of a checkpoint folder. */
export const checkpointFiles = {
  config: 'config.json',
  model: 'model.safetensors',
  /** The last layer that an imported model came with, where another was made of it. */
  original: 'original.safetensors',
  optimizer: 'optimizer.safetensors',
  state: 'state.json',
} as const;

const count = z.int().positive();

const inputSchema: z.ZodType<NetworkDefinition['input']> = z
  .strictObject({
    height: count,
    width: count,
    channels: z.union([z.literal(1), z.literal(3)]),
    isFeatures: z.literal(true).optional(),
    logits: count.optional(),
  })
  .transform(({ isFeatures, logits, ...shape }) => ({
    ...shape,
    ...(isFeatures && { isFeatures }),
    ...(logits !== undefined && { logits }),
  }));

/** The schema of a {@link NetworkDefinition} in a `config.json`. */
export const networkDefinitionSchema = z.strictObject({
  input: inputSchema,
  convolutions: z.array(count).readonly(),
  kernel: count.refine((size) => size % 2 === 1, 'must be odd'),
  dense: z.array(count).readonly(),
  normalisation: z.enum(['batch', 'none']),
  dropout: z.number().min(0).lt(1),
  outputs: count,
  copiesLogits: z.literal(true).optional(),
}) satisfies z.ZodType<NetworkDefinition>;

const generalistConfigSchema = z.looseObject({
  kind: z.enum(['generalist', 'student']),
  network: networkDefinitionSchema,
  /** How a foreign model is cut and fed, on whose features the network stands. */
  backbone: z.unknown().optional(),
});

/** Writes `config.json` into a checkpoint folder. */
export async function writeConfig(directory: string, config: object): Promise<void> {
  await writeFile(join(directory, checkpointFiles.config), `${JSON.stringify(config, null, 2)}\n`);
}

/**
 * Reads and checks a `config.json`.
 *
 * @throws KdSpecError `not-found` or `checkpoint-invalid`
 */
export async function readConfig<Config>(directory: string, schema: z.ZodType<Config>): Promise<Config> {
  const path = join(directory, checkpointFiles.config);
  const text = await readFile(path, 'utf8').catch(() => {
    throw new KdSpecError('not-found', `no checkpoint at ${directory}: expected ${path}`);
  });
  return parseJson(text, path, schema, {
    code: 'checkpoint-invalid',
    advice: 'copy it again or train the model again',
  });
}

/**
 * Checks that the tensors of a file are exactly those of a network definition.
 *
 * @throws KdSpecError `checkpoint-invalid` naming the first tensor that is missing, of another shape, not finite,
 * or not part of the network
 */
export function checkTensors(
  path: string,
  definition: NetworkDefinition,
  tensors: ReadonlyMap<string, HostTensor>,
): void {
  const invalid = (what: string) =>
    new KdSpecError(
      'checkpoint-invalid',
      `${path}: ${what}; it does not belong to the network of config.json`,
    );
  if (definition.copiesLogits && definition.outputs > hiddenFeatures(definition))
    throw invalid(`${definition.outputs} logits are copied from ${hiddenFeatures(definition)} numbers`);
  const expected = networkTensors(definition);
  for (const { name, shape } of expected) {
    const tensor = tensors.get(name);
    if (!tensor) throw invalid(`tensor "${name}" is missing`);
    if (tensor.shape.join() !== shape.join()) {
      throw invalid(
        `tensor "${name}" has shape [${tensor.shape.join(', ')}], expected [${shape.join(', ')}]`,
      );
    }
    if (!tensor.values.every(Number.isFinite))
      throw invalid(`tensor "${name}" has values that are not finite`);
  }
  const known = new Set(expected.map(({ name }) => name));
  const stranger = [...tensors.keys()].find((name) => !known.has(name));
  if (stranger !== undefined) throw invalid(`tensor "${stranger}" is not expected`);
}

/** A last layer as the tensors of a network: weights (width, classes) and bias (classes). */
export function headTensors({
  width,
  classes,
  weights,
  bias,
}: {
  readonly width: number;
  readonly classes: number;
  readonly weights: Float32Array;
  readonly bias: Float32Array;
}): ReadonlyMap<string, HostTensor> {
  return new Map([
    ['head.weights', { shape: [width, classes], values: weights }],
    ['head.bias', { shape: [classes], values: bias }],
  ]);
}

/** Whether a generalist's last layer is another than the imported model came with, which is then beside it. */
export function hasOriginal(directory: string): boolean {
  return existsSync(join(directory, checkpointFiles.original));
}

/**
 * The last layer that an imported model came with, as the tensors of its network.
 *
 * @returns none where the generalist still has it
 * @throws KdSpecError `checkpoint-invalid`
 */
export async function readOriginal(
  directory: string,
  definition: NetworkDefinition,
): Promise<ReadonlyMap<string, HostTensor> | undefined> {
  if (!hasOriginal(directory)) return undefined;
  const path = join(directory, checkpointFiles.original);
  const tensors = await readSafetensors(path);
  checkTensors(path, definition, tensors);
  return tensors;
}

/** How a foreign model is cut and fed on whose features a generalist stands; undefined for one of our own. */
export async function readBackbone(directory: string): Promise<unknown> {
  return (await readConfig(directory, generalistConfigSchema)).backbone;
}

/** The network that a generalist's, or a student's, artefact folder holds, without its weights. */
export async function readDefinition(directory: string): Promise<NetworkDefinition> {
  return (await readConfig(directory, generalistConfigSchema)).network;
}

/**
 * Loads a generalist, or a student, from its artefact folder onto a backend.
 *
 * @param options.withBackbone false where only features or weights are needed, so that a foreign model is not opened
 * @param options.store a folder in which the features of a foreign model are kept, so that none is computed twice
 * @throws KdSpecError `not-found` or `checkpoint-invalid`
 */
export async function loadGeneralist(
  directory: string,
  operations: Operations,
  {
    withBackbone = true,
    store,
  }: { readonly withBackbone?: boolean; readonly store?: string | undefined } = {},
): Promise<Network> {
  const { network: definition, backbone } = await readConfig(directory, generalistConfigSchema);
  expectRoom(operations.backend, countParameters(definition), {
    what: `a network of ${definition.outputs.toLocaleString('en')} classes on ${hiddenFeatures(definition)} features`,
    advice: 'give --backend tensorflow or webgpu (kd-spec doctor says how to install them)',
  });
  const path = join(directory, checkpointFiles.model);
  const tensors = await readSafetensors(path);
  checkTensors(path, definition, tensors);
  if (backbone === undefined || !withBackbone) return networkFromTensors(operations, definition, tensors);
  const { loadOnnxBackbone } = await import('./onnx/onnx-backbone.js');
  return networkFromTensors(
    operations,
    definition,
    tensors,
    await loadOnnxBackbone(directory, backbone, store),
  );
}

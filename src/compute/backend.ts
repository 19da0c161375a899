import { assert } from '../core/errors.js';
import type { BackendKind } from './backend-kind.js';
import type { Measurement } from './measurements.js';
import type { Operations } from './operations.js';
import { createSelector, howToGet, rememberedChoice, type Trial } from './selector.js';
import { tensorflow, tensorflowGpu } from './tensorflow/backend.js';
import { wasm } from './wasm/backend.js';
import { webgpu } from './webgpu/backend.js';

/** The backends, as a rule fastest first: how `auto` tries them where it has not measured. A new one is a folder and a line here. */
const table = [tensorflowGpu, webgpu, tensorflow, wasm] as const satisfies readonly BackendKind[];
const kinds: readonly BackendKind[] = table;

/** What `--backend` takes. */
export type BackendName = 'auto' | (typeof table)[number]['name'];

/** All that `--backend` takes. */
export const backendNames: readonly ['auto', ...BackendName[]] = [
  'auto',
  ...table.map(({ name }) => name).reverse(),
];
const selector = createSelector(kinds);

/** A backend that is loaded and, for a person, why it is this one. */
export interface Backend {
  readonly name: BackendName;
  readonly reason: string;
  /** What networks on it are made of. */
  readonly operations: Operations;
}

/** One line of `kd-spec doctor`. */
export interface BackendDescription {
  readonly name: string;
  readonly available: boolean;
  readonly reason: string;
  /** What to type to get it; empty when it is there. */
  readonly install: string;
}

/**
 * Loads a compute backend.
 *
 * `auto` takes the one that is fastest at the trial. It measures where there are several that load, once: the machine
 * remembers it. Without a trial it takes the one that was chosen last, else the first that loads, in the order of the
 * table. A second call with the same arguments costs nothing. A program that computes with TensorFlow.js itself keeps
 * the backend that it has set.
 *
 * @returns the backend, its name and why it was chosen
 * @throws KdSpecError `backend-unavailable` when the backend that was named cannot be loaded
 */
export async function selectBackend(
  name: BackendName = 'auto',
  { trial }: { readonly trial?: Trial } = {},
): Promise<Backend> {
  const { name: selected, reason, operations } = await selector.select(name, { trial });
  const own = backendNames.find((one) => one === selected);
  assert(own !== undefined, `no backend is called ${selected}`);
  return { name: own, reason, operations };
}

/** What `auto` has measured on this machine with the backends as they are now, the newest first. */
export async function measuredBackends(): Promise<readonly Measurement[]> {
  return selector.measurements();
}

/** What `auto` takes before it has a trial: what was fastest in the newest measurement, else the first available. */
export async function defaultBackend(
  backends: readonly BackendDescription[],
): Promise<BackendDescription | undefined> {
  const available = backends.filter((backend) => backend.available);
  const preferred = rememberedChoice(await measuredBackends());
  return available.find(({ name }) => name === preferred) ?? available.at(0);
}

/**
 * Lists the compute backends, which of them can be used here, and how to get the others.
 *
 * Looks at the installed packages and loads none of them.
 *
 * @param options.looksAtGpus whether a GPU is opened where that takes little, to name it: then only what `auto` may
 *   take is available
 * @returns one line a backend, fastest first
 */
export async function describeBackends({
  looksAtGpus = false,
}: {
  readonly looksAtGpus?: boolean;
} = {}): Promise<readonly BackendDescription[]> {
  const describe = async (kind: BackendKind) => {
    const found = looksAtGpus && kind.look ? await kind.look() : kind.find();
    const { isAvailable: available, reason } = found;
    return { name: kind.name, available, reason, install: available ? '' : howToGet(kind, found) };
  };
  return Promise.all(kinds.map(describe));
}

/** The backend of this name, where there is one and it can be used here; loads nothing. */
export function usableBackend(name: string | null): BackendName | undefined {
  const kind = table.find((one) => one.name === name);
  return kind?.find().isAvailable ? kind.name : undefined;
}

/** Whether a backend, or the one that `auto` takes, computes on a GPU; loads it only where it may. */
export async function runsOnGpu(name: BackendName): Promise<boolean> {
  if (name !== 'auto') return usesGpu(name);
  const mayBe = kinds.some((kind) => kind.usesGpu && kind.find().isAvailable);
  return mayBe && usesGpu((await selectBackend(name)).name);
}

const usesGpu = (name: string) => kinds.some((kind) => kind.name === name && kind.usesGpu);

/**
 * The environment of one of several processes that compute side by side: each gets its share of the machine from
 * every backend that needs to be told.
 *
 * @param processes at least 1
 */
export function shareOfMachine(processes: number): Readonly<Record<string, string>> {
  return Object.assign({}, ...kinds.map((kind: BackendKind) => kind.environment?.(processes)));
}

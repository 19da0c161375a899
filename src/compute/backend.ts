import { KdSpecError } from '../core/errors.js';
import type { Availability, BackendKind } from './backend-kind.js';
import type { Operations } from './operations.js';
import { tensorflow, tensorflowGpu } from './tensorflow/backend.js';
import { wasm } from './wasm/backend.js';
import { webgpu } from './webgpu/backend.js';

/** The backends, fastest first: the order in which `auto` tries them. A new one is a folder and a line here. */
const kinds = [tensorflowGpu, webgpu, tensorflow, wasm] as const satisfies readonly BackendKind[];

/** What `--backend` takes. */
export type BackendName = 'auto' | (typeof kinds)[number]['name'];

/** All that `--backend` takes. */
export const backendNames: readonly ['auto', ...BackendName[]] = [
  'auto',
  ...kinds.map(({ name }) => name).reverse(),
];

/** A backend that is loaded and, for a person, why it is this one. */
export interface Backend {
  readonly name: string;
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

const selections = new Map<BackendName, Promise<Backend>>();

/**
 * Loads a compute backend.
 *
 * `auto` takes the first that loads, fastest first. A second call with the same name costs nothing. A program that
 * computes with TensorFlow.js itself keeps the backend that it has set.
 *
 * @returns the backend, its name and why it was chosen
 * @throws KdSpecError `backend-unavailable` when the backend that was named cannot be loaded
 */
export async function selectBackend(name: BackendName = 'auto'): Promise<Backend> {
  const selection = selections.get(name) ?? select(name);
  selections.set(name, selection);
  try {
    return await selection;
  } catch (error) {
    selections.delete(name);
    throw error;
  }
}

const loaded = new Map<BackendKind, Promise<Operations | { readonly missing: string }>>();

async function select(name: BackendName): Promise<Backend> {
  const wanted = kinds.filter((kind) => name === 'auto' || kind.name === name);
  const failures: string[] = [];
  for (const kind of wanted) {
    const found = kind.find();
    if (!found.isAvailable) {
      failures.push(`${kind.name}: ${found.reason}`);
      continue;
    }
    const loading = loaded.get(kind) ?? kind.load({ isNamed: name !== 'auto' });
    loaded.set(kind, loading);
    const operations = await loading;
    if ('missing' in operations) {
      loaded.delete(kind);
      failures.push(`${kind.name}: ${operations.missing}`);
      continue;
    }
    if (operations.backend !== kind.name) {
      failures.push(`${kind.name}: it finds no GPU that it can use`);
      if (name !== 'auto') break;
    }
    return {
      name: operations.backend,
      reason: name === 'auto' ? chosenBecause(failures) : 'requested by name',
      operations,
    };
  }
  const first: BackendKind | undefined = wanted.at(0);
  const remedy = first ? howToGet(first, first.find()) : 'see docs/backends.md';
  throw new KdSpecError(
    'backend-unavailable',
    `expected a compute backend named ${name === 'auto' ? kinds.map((kind) => kind.name).join(', ') : name}, ` +
      `but it does not load here (${failures.join('; ') || 'no such backend'}): ` +
      `${remedy.startsWith('npm ') ? `run \`${remedy}\`` : remedy}, or choose --backend wasm; \`kd-spec doctor\` lists what there is`,
  );
}

function chosenBecause(failures: readonly string[]): string {
  return failures.length === 0 ? 'the fastest there is' : `the fastest that loads (${failures.join('; ')})`;
}

function howToGet({ install }: BackendKind, found: Availability): string {
  return found.isAvailable ? install : (found.remedy ?? install);
}

/**
 * Lists the compute backends, which of them can be used here, and how to get the others.
 *
 * Looks at the installed packages and loads none of them, so that `kd-spec doctor` answers at once.
 *
 * @returns one line a backend, fastest first
 */
export async function describeBackends(): Promise<readonly BackendDescription[]> {
  return kinds.map((kind) => {
    const found = kind.find();
    return {
      name: kind.name,
      available: found.isAvailable,
      reason: found.reason,
      install: found.isAvailable ? '' : howToGet(kind, found),
    };
  });
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

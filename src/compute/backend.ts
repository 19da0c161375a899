import { createRequire } from 'node:module';
import { dirname, join, sep } from 'node:path';
import { KdSpecError } from '../core/errors.js';
import type { Operations } from './operations.js';
import { loadNative, whyNotNative } from './tensorflow/load-native.js';
import { findNativePackage } from './tensorflow/native-package.js';
import { shareClones } from './wasm/shared-clones.js';

/** What `--backend` takes. */
export type BackendName = 'auto' | 'wasm' | 'tensorflow' | 'tensorflow-gpu';

/** The backend in force and, for a person, why it is this one. */
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

type ConcreteName = Exclude<BackendName, 'auto'>;

/** Fastest first: the order in which `auto` tries them. */
const candidates = [
  { name: 'tensorflow-gpu', install: 'npm run native -- --gpu' },
  { name: 'tensorflow', install: 'npm run native' },
  { name: 'wasm', install: 'npm install @tensorflow/tfjs-backend-wasm' },
] as const satisfies readonly { name: ConcreteName; install: string }[];

type Candidate = (typeof candidates)[number];

const require = createRequire(import.meta.url);
const selections = new Map<BackendName, Promise<Backend>>();

/**
 * Loads a compute backend and makes it the one that TensorFlow.js runs on.
 *
 * `auto` takes the first of tensorflow-gpu, tensorflow and wasm that loads. A second call with the same name
 * costs nothing; with another name it switches.
 *
 * @returns the name of the backend in force and why it was chosen
 * @throws KdSpecError `backend-unavailable` when the backend that was named cannot be loaded
 */
export async function selectBackend(name: BackendName = 'auto'): Promise<Backend> {
  const selection = selections.get(name) ?? select(name);
  selections.set(name, selection);
  try {
    const backend = await selection;
    const tf = await import('@tensorflow/tfjs');
    const registered = backend.name === 'wasm' ? 'wasm' : 'tensorflow';
    if (tf.getBackend() !== registered) await tf.setBackend(registered);
    return backend;
  } catch (error) {
    selections.delete(name);
    throw error;
  }
}

async function select(name: BackendName): Promise<Backend> {
  const wanted = candidates.filter((candidate) => name === 'auto' || candidate.name === name);
  const failures: string[] = [];
  for (const candidate of wanted) {
    const missing = whyMissing(candidate);
    if (missing !== undefined) {
      failures.push(`${candidate.name}: ${missing}`);
      continue;
    }
    try {
      const loaded = await load(candidate.name);
      if (loaded !== candidate.name) {
        failures.push(`${candidate.name}: TensorFlow finds no GPU that it can use`);
        if (name !== 'auto') break;
      }
      const { createOperations } = await import('./tensorflow-js/operations.js');
      return {
        name: loaded,
        reason: name === 'auto' ? chosenBecause(failures) : 'asked for by name',
        operations: createOperations(loaded),
      };
    } catch (cause) {
      failures.push(`${candidate.name}: ${cause instanceof Error ? cause.message : String(cause)}`);
    }
  }
  const first = wanted.at(0);
  const remedy = first ? howToGet(first) : 'see docs/backends.md';
  throw new KdSpecError(
    'backend-unavailable',
    `expected a compute backend named ${name === 'auto' ? candidates.map((c) => c.name).join(', ') : name}, ` +
      `but it does not load here (${failures.join('; ') || 'no such backend'}): ` +
      `${remedy.startsWith('npm ') ? `run \`${remedy}\`` : remedy}, or choose --backend wasm; \`kd-spec doctor\` lists what there is`,
  );
}

function chosenBecause(failures: readonly string[]): string {
  return failures.length === 0 ? 'the fastest there is' : `the fastest that loads (${failures.join('; ')})`;
}

async function loadWasm(): Promise<void> {
  const tf = await import('@tensorflow/tfjs');
  const wasm = await import('@tensorflow/tfjs-backend-wasm');
  await silenceHint();
  wasm.setWasmPaths(wasmFolder());
  if (!(await tf.setBackend('wasm'))) throw new Error('TensorFlow.js could not start it');
  await tf.ready();
  if (!(await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')))
    throw new Error('this Node lacks WebAssembly SIMD');
  shareClones();
}

/** Loads a backend and says which one it then is: TensorFlow's build for GPUs computes on the processor if it must. */
async function load(name: ConcreteName): Promise<ConcreteName> {
  if (name === 'wasm') {
    await loadWasm();
    return name;
  }
  const { usesGpu } = await loadNative(name);
  await silenceHint();
  return usesGpu ? 'tensorflow-gpu' : 'tensorflow';
}

/** The cpu backend, which shape bookkeeping may touch, advertises tfjs-node on its first use. */
async function silenceHint(): Promise<void> {
  const { findBackend } = await import('@tensorflow/tfjs');
  const cpu = findBackend('cpu') as { firstUse?: boolean } | null;
  if (cpu) cpu.firstUse = false;
}

function wasmFolder(): string {
  return join(dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json')), 'dist') + sep;
}

/** Why a candidate cannot be loaded, found out without loading it; undefined when nothing speaks against it. */
function whyMissing({ name }: Candidate): string | undefined {
  if (name !== 'wasm') return whyNotNative(name);
  try {
    wasmFolder();
    return undefined;
  } catch {
    return 'not installed';
  }
}

/**
 * Lists the compute backends, which of them can be used here, and how to get the others.
 *
 * Looks at the installed packages and loads none of them, so that `kd-spec doctor` answers at once.
 *
 * @returns one line a backend, fastest first
 */
export async function describeBackends(): Promise<readonly BackendDescription[]> {
  return candidates.map((candidate) => {
    const missing = whyMissing(candidate);
    const available = missing === undefined;
    return {
      name: candidate.name,
      available,
      reason: missing ?? whyUsable(candidate),
      install: available ? '' : howToGet(candidate),
    };
  });
}

function whyUsable({ name }: Candidate): string {
  if (name === 'wasm') return 'embedded, needs nothing';
  const found = findNativePackage(name);
  return 'missing' in found ? found.missing : found.origin;
}

function howToGet({ name, install }: Candidate): string {
  const isThere = name === 'tensorflow-gpu' && !('missing' in findNativePackage(name));
  return isThere ? "install NVIDIA's driver for its GPU" : install;
}

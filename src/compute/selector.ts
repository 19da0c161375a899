import { availableParallelism } from 'node:os';
import { KdSpecError } from '../core/errors.js';
import type { Availability, BackendKind } from './backend-kind.js';
import { type Measurement, readMeasurements, rememberMeasurement, settingOf } from './measurements.js';
import type { Operations } from './operations.js';

/** What `auto` measures to choose by: a few steps of the work at hand. */
export interface Trial {
  /** Tells the work, for a person; the same words stand for the same measurement. */
  readonly name: string;
  /** Whether several processes do the work side by side: a backend of one core then does it on every core. */
  readonly inParallel: boolean;
  /** Does the steps, for a second or less where a step is short, and returns examples per second. */
  run(operations: Operations): Promise<number>;
}

/** A backend of a table, loaded, and why it is this one. */
export interface Selection {
  readonly name: string;
  readonly reason: string;
  readonly operations: Operations;
}

/** Chooses among the backends of a table. */
export interface Selector {
  select(name: string, options: { readonly trial?: Trial | undefined }): Promise<Selection>;
  /** What was measured with the backends as they are now, the newest first. */
  measurements(): Promise<readonly Measurement[]>;
}

/**
 * Loads the backends of a table as they are wanted, each once.
 *
 * @param kinds as a rule fastest first: the order in which `auto` tries them where it has not measured
 */
export function createSelector(kinds: readonly BackendKind[]): Selector {
  const selections = new Map<string, Promise<Selection>>();
  const loaded = new Map<string, Promise<Operations | { readonly missing: string }>>();
  /** What `auto` took last in this process. */
  let chosen: string | undefined;

  async function select(name: string, { trial }: { readonly trial?: Trial | undefined }): Promise<Selection> {
    const key = name === 'auto' && trial ? `auto for ${trial.name}` : name;
    const selection = selections.get(key) ?? (name === 'auto' ? selectFastest(trial) : selectNamed(name));
    selections.set(key, selection);
    try {
      return await selection;
    } catch (error) {
      selections.delete(key);
      throw error;
    } finally {
      // What `auto` takes without a trial may be another one after each trial.
      if (key !== name) selections.delete('auto');
    }
  }

  /** Loads one; a reason, for a person, where it cannot be used. */
  async function load(
    kind: BackendKind,
    { isNamed }: { readonly isNamed: boolean },
  ): Promise<Operations | string> {
    const found = kind.find();
    if (!found.isAvailable) return `${kind.name}: ${found.reason}`;
    // A software driver, which is had by name alone, is not there for `auto` in the same process either.
    const key = `${kind.name}${isNamed ? ' by name' : ''}`;
    const loading = loaded.get(key) ?? kind.load({ isNamed });
    loaded.set(key, loading);
    const operations = await loading;
    if (!('missing' in operations)) return operations;
    loaded.delete(key);
    return `${kind.name}: ${operations.missing}`;
  }

  async function selectNamed(name: string): Promise<Selection> {
    const kind = kinds.find((one) => one.name === name);
    if (!kind) throw unavailable(name, [], 'see docs/backends.md');
    const operations = await load(kind, { isNamed: true });
    if (typeof operations === 'string') throw unavailable(name, [operations], howToGet(kind, kind.find()));
    if (operations.backend !== name)
      throw unavailable(name, [insteadOf(kind, operations)], howToGet(kind, kind.find()));
    return { name, reason: 'requested by name', operations };
  }

  async function selectFastest(trial: Trial | undefined): Promise<Selection> {
    const candidates = kinds.filter((kind) => kind.find().isAvailable);
    if (candidates.length < 2) return selectFirst(kinds);
    const setting = currentSetting();
    const remembered = await readMeasurements(setting);
    const known = trial && remembered.find((measurement) => measurement.trial === trial.name);
    if (known || !trial) {
      const preferred = known ? fastestOf(known).backend : (chosen ?? rememberedChoice(remembered));
      const first = kinds.filter((kind) => kind.name === preferred);
      const backend = await selectFirst([...first, ...kinds.filter((kind) => kind.name !== preferred)]);
      if (!known) return backend;
      // Another GPU than the one that was measured is measured again.
      const { device } = fastestOf(known);
      if (backend.name === preferred && (backend.operations.device ?? null) === device) {
        chosen = backend.name;
        return { ...backend, reason: ratesText(known) };
      }
    }
    const backend = await measure(trial, setting);
    chosen = backend.name;
    return backend;
  }

  /** Loads the first of some that can be loaded. */
  async function selectFirst(wanted: readonly BackendKind[]): Promise<Selection> {
    const failures: string[] = [];
    for (const kind of wanted) {
      const operations = await load(kind, { isNamed: false });
      if (typeof operations === 'string') failures.push(operations);
      else {
        if (operations.backend !== kind.name) failures.push(insteadOf(kind, operations));
        const reason =
          failures.length === 0 ? 'the fastest there is' : `the fastest that loads (${failures.join('; ')})`;
        return { name: operations.backend, reason, operations };
      }
    }
    throw unavailable('auto', failures, 'see docs/backends.md');
  }

  /** Runs a trial on all that load, and remembers what came of it. */
  async function measure(trial: Trial, setting: string): Promise<Selection> {
    const there: { readonly kind: BackendKind; readonly operations: Operations }[] = [];
    for (const kind of kinds) {
      const operations = await load(kind, { isNamed: false });
      if (typeof operations !== 'string') there.push({ kind, operations });
    }
    if (there.length < 2) return selectFirst(kinds);
    const rates: Measurement['rates'] = [];
    for (const { kind, operations } of there) {
      const cores = trial.inParallel && kind.usesOneCore ? availableParallelism() : 1;
      const examplesPerSecond = cores * (await trial.run(operations).catch(rateOfRefusal));
      rates.push({ backend: operations.backend, device: operations.device ?? null, examplesPerSecond });
    }
    const measurement = { setting, trial: trial.name, rates, measuredAt: new Date().toISOString() };
    await rememberMeasurement(measurement);
    const { backend } = fastestOf(measurement);
    const { operations } = there[rates.findIndex((rate) => rate.backend === backend)];
    return { name: operations.backend, reason: ratesText(measurement), operations };
  }

  /** The machine with the backends that it shows now. */
  function currentSetting(): string {
    const found = kinds.map((kind) => ({ name: kind.name, found: kind.find() }));
    return settingOf(
      found.flatMap(({ name, found: { isAvailable, reason } }) => (isAvailable ? `${name}: ${reason}` : [])),
    );
  }

  function unavailable(name: string, failures: readonly string[], remedy: string): KdSpecError {
    return new KdSpecError(
      'backend-unavailable',
      `expected a compute backend named ${name === 'auto' ? kinds.map((kind) => kind.name).join(', ') : name}, ` +
        `but it does not load here (${failures.join('; ') || 'no such backend'}): ` +
        `${remedy.startsWith('npm ') ? `run \`${remedy}\`` : remedy}, or choose --backend wasm; \`kd-spec doctor\` lists what there is`,
    );
  }

  return { select, measurements: () => readMeasurements(currentSetting()) };
}

/** Why a backend that loads another in its place is not there. */
function insteadOf({ name, usesGpu }: BackendKind, { backend }: Operations): string {
  return `${name}: ${usesGpu ? 'it finds no GPU that it can use' : `what it loads is ${backend}`}`;
}

/** A backend that refuses the work, since it is too large for it, does it at no speed. */
function rateOfRefusal(error: unknown): number {
  if (error instanceof KdSpecError) return 0;
  throw error;
}

const fastestOf = ({ rates }: Measurement) =>
  rates.reduce((best, rate) => (rate.examplesPerSecond > best.examplesPerSecond ? rate : best));

export const rememberedChoice = ([newest]: readonly Measurement[]) => newest && fastestOf(newest).backend;

function ratesText({ rates }: Measurement): string {
  const sorted = [...rates].sort((a, b) => b.examplesPerSecond - a.examplesPerSecond);
  const texts = sorted.map(
    ({ backend, examplesPerSecond }) => `${backend} ${Math.round(examplesPerSecond).toLocaleString('en')}`,
  );
  return `the fastest here: ${texts.join(', ')} examples/s`;
}

export function howToGet({ install }: BackendKind, found: Availability): string {
  return found.isAvailable ? install : (found.remedy ?? install);
}

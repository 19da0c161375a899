import { randomUUID } from 'node:crypto';
import { appendFile, readdir, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { KdSpecError } from '../core/errors.js';
import { eventFileStart, scalarRecord } from '../core/event-file.js';
import type { JsonObject } from '../core/json.js';
import type { Log } from '../core/log.js';
import { makeFolder } from '../core/make-folder.js';

/** A line of a `metrics.jsonl` that was not there before. */
export interface NewMetrics {
  /** The training: the stage, and below it the specialist or student, e.g. `specialists/12`. */
  readonly run: string;
  readonly step: number;
  /** Its numbers, by name. */
  readonly values: Readonly<Record<string, number>>;
}

/** Where metrics go beside `metrics.jsonl`. */
export interface MetricsSink {
  write(metrics: readonly NewMetrics[]): Promise<void>;
  /** Once the stage is done: its settings and the figures that it ends with. */
  finish(
    stage: string,
    result: { readonly parameters: JsonObject; readonly metrics: JsonObject },
  ): Promise<void>;
}

const pollMs = 5000;

/**
 * Follows the `metrics.jsonl` files of a stage while it works, from every process that writes them: this process, a
 * pool, or the jobs of a cluster. A sink that fails is told of once, and the work goes on.
 */
export class MetricsExport implements AsyncDisposable {
  private readonly linesDone = new Map<string, number>();
  private readonly timer: NodeJS.Timeout;
  private queue: Promise<void> = Promise.resolve();
  private hasFailed = false;
  private readonly stage: string;
  private readonly directory: string;
  private readonly sinks: readonly MetricsSink[];
  private readonly log: Log;

  /** @param directory in which the stage works */
  constructor(stage: string, directory: string, sinks: readonly MetricsSink[], log: Log) {
    this.stage = stage;
    this.directory = directory;
    this.sinks = sinks;
    this.log = log;
    this.timer = setInterval(() => this.collect(), pollMs);
    this.timer.unref();
  }

  /** Writes what is new. */
  collect(): Promise<void> {
    return this.guarded(async () => {
      const news = await this.newMetrics();
      if (news.length > 0) for (const sink of this.sinks) await sink.write(news);
    });
  }

  finish(result: { readonly parameters: JsonObject; readonly metrics: JsonObject }): Promise<void> {
    this.collect();
    return this.guarded(async () => {
      for (const sink of this.sinks) await sink.finish(this.stage, result);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.timer);
    await this.queue;
  }

  /** One after the other; a failure is said once. */
  private guarded(work: () => Promise<void>): Promise<void> {
    this.queue = this.queue.then(work).catch((error: unknown) => {
      if (this.hasFailed) return;
      this.hasFailed = true;
      this.log.warn(
        `metrics are written to metrics.jsonl alone: ${error instanceof Error ? error.message : error}`,
      );
    });
    return this.queue;
  }

  private async newMetrics(): Promise<readonly NewMetrics[]> {
    const names = await readdir(this.directory, { recursive: true }).catch((): string[] => []);
    const found: NewMetrics[] = [];
    for (const name of names.filter((path) => basename(path) === 'metrics.jsonl').sort()) {
      const text = await readFile(join(this.directory, name), 'utf8').catch(() => '');
      const lines = text.split('\n').slice(0, -1); // a line without its end is still being written
      // A specialist is made under `.partial/` and renamed: it is the same training.
      const place = relative('.partial', dirname(name));
      const inner = place.startsWith('..') ? dirname(name) : place;
      const run = inner === '.' || inner === '' ? this.stage : `${this.stage}/${inner}`;
      const done = this.linesDone.get(run) ?? 0;
      for (const line of lines.slice(done)) {
        const parsed = readLine(line);
        if (parsed) found.push({ run, ...parsed });
      }
      this.linesDone.set(run, Math.max(done, lines.length));
    }
    return found;
  }
}

function readLine(line: string): Pick<NewMetrics, 'step' | 'values'> | undefined {
  try {
    const { step, ...rest } = JSON.parse(line) as Record<string, unknown>;
    const values = Object.entries(rest).filter(
      (entry): entry is [string, number] => typeof entry[1] === 'number',
    );
    return { step: typeof step === 'number' ? step : 0, values: Object.fromEntries(values) };
  } catch {
    return undefined;
  }
}

/**
 * Event files for TensorBoard, a folder for each training.
 *
 * @param folder e.g. `kd-workspace/tensorboard`
 */
export function tensorboardSink(folder: string): MetricsSink {
  const files = new Map<string, Promise<string>>();
  const now = () => Date.now() / 1000;
  const open = async (run: string) => {
    await makeFolder(join(folder, run));
    const path = join(
      folder,
      run,
      `events.out.tfevents.${Math.floor(now())}.${hostname()}.${process.pid}.${randomUUID().slice(0, 8)}`,
    );
    await appendFile(path, eventFileStart(now()));
    return path;
  };
  const append = async (run: string, records: readonly Uint8Array[]) => {
    const opened = files.get(run) ?? open(run);
    files.set(run, opened);
    await appendFile(await opened, Buffer.concat(records));
  };
  return {
    async write(metrics) {
      for (const { run, step, values } of metrics) {
        const records = Object.entries(values).map(([tag, value]) =>
          scalarRecord({ tag, step, value, wallTime: now() }),
        );
        await append(run, records);
      }
    },
    async finish(stage, { metrics }) {
      const records = Object.entries(flatNumbers(metrics)).map(([tag, value]) =>
        scalarRecord({ tag: `result/${tag}`, step: 0, value, wallTime: now() }),
      );
      if (records.length > 0) await append(stage, records);
    },
  };
}

const batchLimit = 1000; // metrics that MLflow takes in one request
const parameterLimit = 100;
const parameterCharacters = 500;

/**
 * An MLflow tracking server, by its REST API: a run for each stage and for each specialist or student.
 *
 * @param url e.g. `http://localhost:5000`
 * @param options.experiment made if there is none of that name
 */
export function mlflowSink(url: string, { experiment }: { readonly experiment: string }): MetricsSink {
  const runs = new Map<string, Promise<string>>();
  const request = async (path: string, body: object): Promise<Record<string, unknown>> => {
    const place = `${url.replace(/\/+$/, '')}/api/2.0/mlflow/${path}`;
    const response = await fetch(place, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(30_000),
    }).catch((cause: unknown) => {
      throw new KdSpecError('not-readable', `no MLflow server at ${url}: check --mlflow`, { cause });
    });
    const text = await response.text();
    if (!response.ok) {
      throw new KdSpecError(
        'not-readable',
        `the MLflow server at ${url} refused ${path}: ${text.slice(0, 300)}`,
      );
    }
    return JSON.parse(text || '{}') as Record<string, unknown>;
  };
  let experimentId: Promise<string> | undefined;
  const findExperiment = async () => {
    const place = `${url.replace(/\/+$/, '')}/api/2.0/mlflow/experiments/get-by-name?experiment_name=${encodeURIComponent(experiment)}`;
    const response = await fetch(place, { signal: AbortSignal.timeout(30_000) }).catch((cause: unknown) => {
      throw new KdSpecError('not-readable', `no MLflow server at ${url}: check --mlflow`, { cause });
    });
    if (response.ok) {
      const { experiment: found } = (await response.json()) as { experiment?: { experiment_id?: string } };
      if (found?.experiment_id !== undefined) return found.experiment_id;
    }
    return String((await request('experiments/create', { name: experiment })).experiment_id);
  };
  const startRun = async (name: string) => {
    experimentId ??= findExperiment();
    const started = await request('runs/create', {
      experiment_id: await experimentId,
      run_name: name,
      start_time: Date.now(),
      tags: [{ key: 'source', value: 'kd-spec' }],
    });
    const { info } = (started.run ?? {}) as { info?: { run_id?: string } };
    return String(info?.run_id);
  };
  const runOf = (name: string) => {
    const run = runs.get(name) ?? startRun(name);
    runs.set(name, run);
    return run;
  };
  const logMetrics = async (
    run: string,
    metrics: readonly { key: string; value: number; step: number }[],
  ) => {
    const timestamp = Date.now();
    for (let start = 0; start < metrics.length; start += batchLimit) {
      const some = metrics.slice(start, start + batchLimit).map((metric) => ({ ...metric, timestamp }));
      await request('runs/log-batch', { run_id: await runOf(run), metrics: some });
    }
  };
  return {
    async write(metrics) {
      for (const { run, step, values } of metrics)
        await logMetrics(
          run,
          Object.entries(values).map(([key, value]) => ({ key, value, step })),
        );
    },
    async finish(stage, { parameters, metrics }) {
      const params = Object.entries(parameters)
        .map(([key, value]) => ({ key, value: JSON.stringify(value).slice(0, parameterCharacters) }))
        .slice(0, parameterLimit);
      await request('runs/log-batch', { run_id: await runOf(stage), params });
      await logMetrics(
        stage,
        Object.entries(flatNumbers(metrics)).map(([key, value]) => ({
          key: `result.${key}`,
          value,
          step: 0,
        })),
      );
      for (const [name, run] of runs) {
        if (name !== stage && !name.startsWith(`${stage}/`)) continue;
        await request('runs/update', { run_id: await run, status: 'FINISHED', end_time: Date.now() });
      }
    },
  };
}

/** The numbers of a result, outside of its lists, by their place. */
function flatNumbers(values: JsonObject, prefix = ''): Readonly<Record<string, number>> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([key, value]): [string, number][] => {
      if (typeof value === 'number') return [[prefix + key, value]];
      const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
      return isObject ? Object.entries(flatNumbers(value as JsonObject, `${prefix}${key}.`)) : [];
    }),
  );
}

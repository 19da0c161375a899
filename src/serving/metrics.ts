import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { BatchReport } from './batcher.js';

/** What the server measures of itself, in Prometheus' text format. */
export interface Metrics {
  request(route: string, method: string, status: number, seconds: number): void;
  images(result: 'classified' | 'failed', count: number): void;
  refused(reason: 'busy' | 'deadline' | 'unauthorised' | 'invalid'): void;
  batch(report: BatchReport): void;
  /** Tells of the model that is served. */
  model(name: string, version: string, classes: number): void;
  modelLoad(result: 'taken up' | 'failed'): void;
  correction(): void;
  /** The page that Prometheus reads. */
  page(): Promise<{ readonly type: string; readonly text: string }>;
  close(): void;
}

const secondsBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const imagesBuckets = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const nanosecondsPerSecond = 1e9;

/** @param imagesUnderWay images between their first byte and their prediction */
export function createMetrics(imagesUnderWay: () => number): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const requests = new Counter({
    name: 'kd_spec_requests_total',
    help: 'HTTP requests that ended, by route, method and status.',
    labelNames: ['route', 'method', 'status'],
    registers,
  });
  const requestSeconds = new Histogram({
    name: 'kd_spec_request_seconds',
    help: 'Time from the headers of a request to the end of its response.',
    labelNames: ['route'],
    buckets: secondsBuckets,
    registers,
  });
  const images = new Counter({
    name: 'kd_spec_images_total',
    help: 'Images that were classified, or that failed: no image, too large.',
    labelNames: ['result'],
    registers,
  });
  const refused = new Counter({
    name: 'kd_spec_refused_total',
    help: 'Requests to classify that were refused, by reason.',
    labelNames: ['reason'],
    registers,
  });
  const batchImages = new Histogram({
    name: 'kd_spec_batch_images',
    help: 'Images that were predicted together.',
    buckets: imagesBuckets,
    registers,
  });
  const batchSeconds = new Histogram({
    name: 'kd_spec_batch_seconds',
    help: 'Time that a batch took to predict.',
    buckets: secondsBuckets,
    registers,
  });
  const waitSeconds = new Histogram({
    name: 'kd_spec_wait_seconds',
    help: 'Time that a decoded image waited for its batch.',
    buckets: secondsBuckets,
    registers,
  });
  const modelInfo = new Gauge({
    name: 'kd_spec_model_info',
    help: 'The model that is served; its value is 1.',
    labelNames: ['name', 'version', 'classes'],
    registers,
  });
  const modelLoads = new Counter({
    name: 'kd_spec_model_loads_total',
    help: 'Further models that were found while serving, and what became of them.',
    labelNames: ['result'],
    registers,
  });
  const corrections = new Counter({
    name: 'kd_spec_corrections_total',
    help: 'Images that a person gave another class.',
    registers,
  });
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });
  const loop = monitorEventLoopDelay({ resolution: 10 });
  loop.enable();
  gauge('kd_spec_images_under_way', 'Images between their first byte and their prediction.', imagesUnderWay);
  gauge('process_resident_memory_bytes', 'Resident memory of the process.', () => process.memoryUsage.rss());
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'Time of all cores that the process took.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  gauge('process_start_time_seconds', 'When the process began, in seconds since 1970.', () =>
    Math.round(Date.now() / 1000 - process.uptime()),
  );
  gauge(
    'nodejs_eventloop_lag_p99_seconds',
    'Delay of the event loop since the last reading, 99th percentile.',
    () => {
      const seconds = loop.percentile(99) / nanosecondsPerSecond;
      loop.reset();
      return seconds;
    },
  );
  return {
    request(route, method, status, seconds) {
      requests.inc({ route, method, status: String(status) });
      requestSeconds.observe({ route }, seconds);
    },
    images: (result, count) => images.inc({ result }, count),
    refused: (reason) => refused.inc({ reason }),
    batch(report) {
      batchImages.observe(report.images);
      batchSeconds.observe(report.seconds);
      for (const seconds of report.waitedSeconds) waitSeconds.observe(seconds);
    },
    model(name, version, classes) {
      modelInfo.reset();
      modelInfo.set({ name, version, classes: String(classes) }, 1);
    },
    modelLoad: (result) => modelLoads.inc({ result }),
    correction: () => corrections.inc(),
    async page() {
      return { type: registry.contentType, text: await registry.metrics() };
    },
    close: () => loop.disable(),
  };
}

import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import type { CommandModule } from 'yargs';
import type { Measurement } from '../../compute/measurements.js';
import { packageVersion } from '../../core/package.js';
import { wantsJson } from '../command-settings.js';
import { type CommandContext, printResult } from '../context.js';
import { alignColumns } from '../summary.js';

export function doctorCommand(context: CommandContext): CommandModule {
  return {
    command: 'doctor',
    describe: 'Show which compute backends run on this machine, and how to install others',
    builder: (yargs) => yargs.option('json', { type: 'boolean', describe: 'Print exactly one JSON object' }),
    handler: async (argv) => {
      const { defaultBackend, describeBackends, measuredBackends } = await import('../../compute/backend.js');
      const { describeRuntime } = await import('../../models/onnx/runtime.js');
      const onnxRuntime = describeRuntime();
      const backends = await describeBackends({ looksAtGpus: true });
      const chosen = await defaultBackend(backends);
      const measurements = (await measuredBackends()).map(({ trial, rates, measuredAt }) => ({
        trial,
        rates,
        measuredAt,
      }));
      const machine = {
        platform: `${process.platform}-${process.arch}`,
        processor: cpus()[0]?.model ?? 'unknown',
        cores: availableParallelism(),
        memoryBytes: totalmem(),
        freeMemoryBytes: freemem(),
      };
      const json = {
        kdSpec: packageVersion(),
        node: process.versions.node,
        machine,
        backend: chosen?.name ?? null,
        backends,
        onnxRuntime,
        measurements,
      };
      const gigabytes = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GB`;
      const text = [
        alignColumns([
          ['kd-spec', json.kdSpec],
          ['node', json.node],
          ['machine', `${machine.platform}, ${machine.cores} cores, ${machine.processor}`],
          ['memory', `${gigabytes(machine.memoryBytes)}, ${gigabytes(machine.freeMemoryBytes)} free`],
          [
            'backend',
            chosen === undefined
              ? 'none: training and inference cannot run'
              : `${chosen.name}, ${chosen.reason}`,
          ],
          [
            'ONNX Runtime',
            onnxRuntime.isNative
              ? 'native'
              : `in WebAssembly; for the faster native one: ${onnxRuntime.install}`,
          ],
        ]),
        '',
        alignColumns([
          ['backend', 'usable', 'why', 'to install'],
          ...backends.map(({ name, available, reason, install }) => [
            name,
            available ? 'yes' : 'no',
            reason,
            install,
          ]),
        ]),
        ...(measurements.length === 0 ? [] : ['', measurementsText(measurements)]),
      ].join('\n');
      printResult(context, { json, text }, wantsJson(argv, context));
    },
  };
}

/** What `auto` chooses by, a line for each backend of each measurement. */
function measurementsText(
  measurements: readonly Pick<Measurement, 'trial' | 'rates' | 'measuredAt'>[],
): string {
  const rows = measurements.flatMap(({ trial, rates, measuredAt }) =>
    rates.map(({ backend, device, examplesPerSecond }, index) => [
      index === 0 ? trial : '',
      device === null ? backend : `${backend} (${device})`,
      Math.round(examplesPerSecond).toLocaleString('en'),
      index === 0 ? measuredAt.slice(0, 10) : '',
    ]),
  );
  return alignColumns([['measured for auto', 'backend', 'examples/s', 'on'], ...rows]);
}

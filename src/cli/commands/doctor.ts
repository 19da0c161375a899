import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import type { CommandModule } from 'yargs';
import { packageVersion } from '../../core/package.js';
import { type CommandContext, printResult } from '../context.js';
import { alignColumns } from '../summary.js';

export function doctorCommand(context: CommandContext): CommandModule {
  return {
    command: 'doctor',
    describe: 'Show which compute backends run on this machine, and how to install others',
    builder: (yargs) => yargs.option('json', { type: 'boolean', describe: 'Print exactly one JSON object' }),
    handler: async (argv) => {
      const { describeBackends } = await import('../../compute/backend.js');
      const backends = await describeBackends();
      const chosen = backends.find(({ available }) => available);
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
      ].join('\n');
      printResult(context, { json, text }, argv.json === true);
    },
  };
}

import type { CommandModule } from 'yargs';
import { KdSpecError } from '../../core/errors.js';
import { addFlags, flagsOf } from '../command-line.js';
import type { CommandContext } from '../context.js';

const actions = ['show', 'follow', 'cancel', 'collect', 'manifest', 'train'] as const;

export function jobsCommand(context: CommandContext): CommandModule {
  return {
    command: 'jobs <action>',
    describe:
      'Show and control the jobs that train specialists on a cluster, from any machine that shares the workspace',
    builder: (yargs) => {
      const text = (describe: string, defaultDescription?: string) =>
        ({
          type: 'string',
          requiresArg: true,
          describe,
          ...(defaultDescription === undefined ? {} : { defaultDescription }),
        }) as const;
      const kubernetes = 'manifest:';
      return addFlags(
        yargs
          .positional('action', {
            type: 'string',
            choices: actions,
            describe:
              'show their state; follow them until they end; cancel them after their checkpoints; collect their ' +
              'results; print the manifest of a Kubernetes job; train one specialist, as a job does',
          })
          .option(
            'position',
            text(
              'Train the specialist at this position in subsets.json (train; in a pod JOB_COMPLETION_INDEX)',
            ),
          )
          .option('engine', {
            ...text('Write the manifest for this engine', 'kubernetes'),
            group: kubernetes,
          })
          .option('image', {
            ...text('Run this container image, which contains kd-spec', 'kd-spec'),
            group: kubernetes,
          })
          .option('claim', {
            ...text('Mount this PersistentVolumeClaim, which holds the workspace', 'kd-spec'),
            group: kubernetes,
          })
          .option('sub-path', {
            ...text('Find the workspace at this path in the claim', 'its root'),
            group: kubernetes,
          })
          .option('name', { ...text('Name the job', 'kd-spec-specialists'), group: kubernetes })
          .option('parallelism', { ...text('Run at most this many pods at once', '10'), group: kubernetes })
          .option('cpus', { ...text('Set the cores of a pod', '1'), group: kubernetes })
          .option('memory', { ...text('Set the memory of a pod', '4Gi'), group: kubernetes })
          .option('time', {
            ...text(
              'Set the time limit of a pod in the format of --slurm-time, e.g. 90 (minutes) or 4:00:00',
              'none',
            ),
            group: kubernetes,
          })
          .option('gpus', { ...text('Set the NVIDIA GPUs of a pod', '0'), group: kubernetes }),
        [],
      );
    },
    handler: async (argv) => {
      const { commandSettings } = await import('../command-settings.js');
      const settings = await commandSettings(argv, context, { isToldLater: argv.action === 'collect' });
      const value = (name: string) => (typeof argv[name] === 'string' ? argv[name] : undefined);
      switch (argv.action) {
        case 'show':
          return (await import('../jobs/look-after-jobs.js')).showJobs(settings, context);
        case 'follow':
          return (await import('../jobs/look-after-jobs.js')).followJobs(settings, context);
        case 'cancel':
          return (await import('../jobs/look-after-jobs.js')).cancelJobs(settings, context);
        case 'collect':
          await (await import('../jobs/look-after-jobs.js')).requireAllDone(settings);
          return (await import('../run-stages.js')).runStageCommand(
            'specialists',
            flagsOf(argv, []),
            context,
            {
              toJson: (metrics) => metrics,
            },
          );
        case 'manifest':
          return (await import('../jobs/print-manifest.js')).printManifest(settings, value, context);
        case 'train':
          return (await import('../jobs/train-job.js')).trainJob(settings, value('position'), context);
        default:
          throw new KdSpecError('usage', `expected one of ${actions.join(', ')}, got "${argv.action}"`);
      }
    },
  };
}

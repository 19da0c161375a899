import { dirname, relative, resolve } from 'node:path';
import type { CommandModule } from 'yargs';
import { KdSpecError } from '../../core/errors.js';
import { addOptions, flagsOf } from '../command-line.js';
import { type CommandContext, printResult } from '../context.js';

/** Options of the pipeline that init takes: what says where the data are, and how a model is read. */
const taken = [
  ...['source', 'onnx', 'label-column', 'image-column', 'class-names', 'group'],
  ...['validation-fraction', 'test-fraction'],
  ...['labels', 'logits', 'features', 'layout', 'blank', 'image-size'],
];

/** The command that looks at data and writes settings for them. */
export function initCommand(context: CommandContext): CommandModule {
  return {
    command: 'init',
    describe:
      'Look at images (--source) and write a pipeline file with fitting settings, a comment on each line',
    builder: (yargs) =>
      addOptions(
        yargs
          .option('out', {
            type: 'string',
            requiresArg: true,
            defaultDescription: 'kd-spec.yaml',
            describe: 'Write the pipeline to this file',
          })
          .option('force', { type: 'boolean', describe: 'Write over a file that is there' }),
        taken,
      ),
    handler: async (argv) => {
      const { resolveSettings } = await import('../../pipeline/settings.js');
      const { inspectSource, inspectionText, inspectionWarnings } = await import('../inspect-source.js');
      const { expectNoPipeline, pipelineText } = await import('../init-pipeline.js');
      const { writeFileAtomically } = await import('../../core/atomic-file.js');
      const { createTerminalLog, usesColor } = await import('../terminal-log.js');
      const { alignColumns } = await import('../summary.js');
      const flags = flagsOf(argv, ['dataset']);
      if (flags.source === undefined && context.env.KD_SPEC_SOURCE === undefined) {
        throw new KdSpecError(
          'usage',
          'expected images to look at: --source FOLDER, with one folder for each class',
        );
      }
      const resolved = await resolveSettings(flags, context.env, { folder: context.folder });
      const { settings } = resolved;
      const path = resolve(context.folder, typeof argv.out === 'string' ? argv.out : 'kd-spec.yaml');
      expectNoPipeline(path, { force: argv.force === true });
      using log = createTerminalLog(context.stderr, {
        quiet: settings.quiet,
        color: usesColor(context.stderr, context.env),
      });
      const inspection = await inspectSource(resolved, { log, signal: context.signal });
      const warnings = [...resolved.warnings, ...inspectionWarnings(inspection)];
      await writeFileAtomically(path, pipelineText(inspection, resolved, dirname(path)));
      for (const warning of warnings) log.warn(warning);
      const name = relative(context.folder, path);
      printResult(
        context,
        {
          json: { file: path, warnings, ...inspection },
          text: [
            alignColumns(inspectionText(inspection)),
            `Wrote ${name}. Look at it, then:\n  kd-spec run ${name} --dry-run    what will be made, and what it costs\n  kd-spec run ${name}`,
          ].join('\n\n'),
        },
        settings.json,
      );
    },
  };
}

import { readFile } from 'node:fs/promises';
import type { CommandModule } from 'yargs';
import { KdSpecError } from '../../core/errors.js';
import { asFileError } from '../../core/file-error.js';
import { runtimes } from '../../pipeline/options/report-options.js';
import { addFlags, flagsOf } from '../command-line.js';
import { type CommandContext, printResult } from '../context.js';

/** The command that serves a model over HTTP until it is told to end. */
export function serveCommand(context: CommandContext): CommandModule {
  return {
    command: 'serve',
    describe: 'Serve the ensemble of a workspace, or an ONNX file, over HTTP, with a page to try it',
    builder: (yargs) =>
      addFlags(
        yargs.option('runtime', {
          type: 'string',
          requiresArg: true,
          choices: runtimes,
          defaultDescription: 'auto',
          describe:
            'Run an ensemble on networks (tensorflow, wasm) or, as it would be exported, in ONNX Runtime (onnx); a file runs there in any case, with wasm in the one that is always installed',
        }),
        ['serve'],
      ),
    handler: async (argv) => {
      const { resolveSettings } = await import('../../pipeline/settings.js');
      const { settings, origins, warnings } = await resolveSettings(flagsOf(argv, ['serve']), context.env, {
        folder: context.folder,
      });
      const { createTerminalLog, usesColor } = await import('../terminal-log.js');
      const color = usesColor(context.stderr, context.env);
      using messages = createTerminalLog(context.stderr, { quiet: settings.quiet, color });
      for (const warning of warnings) messages.warn(warning);
      const { createServer } = await import('../../serving/server.js');
      const { tokensOf } = await import('../../serving/access.js');
      const { model: named, tokenFile, reloadSeconds, host, ...options } = settings.serve;
      const { modelFileOf } = await import('../../models/onnx/model-path.js');
      const model = named === null ? null : modelFileOf(named);
      if (model !== null && origins.get('workspace')?.kind === 'flag')
        throw new KdSpecError(
          'usage',
          'expected --workspace or --model, got both: name what is to be served',
        );
      const tokens = tokenFile === null ? [] : tokensOf(await readTokenFile(tokenFile));
      if (tokenFile !== null && tokens.length === 0)
        throw new KdSpecError(
          'option-invalid',
          `--token-file: expected a token on a line of ${tokenFile}, found none`,
        );

      let fail: (error: Error) => void = () => {};
      const failed = new Promise<never>((_, reject) => {
        fail = reject;
      });
      failed.catch(() => {});
      const runtime =
        runtimes.find((name) => name === (argv.runtime ?? context.env.KD_SPEC_RUNTIME)) ?? 'auto';
      const from = { backend: settings.backend, runtime };
      const opened = await open(model, settings.workspace, from, {
        note: (text) => messages.warn(text),
        onEnd: fail,
      });
      const { classifier, version, gallery } = opened;
      const server = await createServer(classifier, {
        ...options,
        host,
        tokens,
        version,
        gallery,
        corrections: options.corrections ?? undefined,
        log: (entry) => {
          if (settings.quiet && entry.level === 'info') return;
          context.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), ...entry })}\n`);
        },
      }).catch((error: unknown) => {
        classifier.dispose();
        throw error;
      });
      const { url } = server;
      const classes = classifier.classes.length;
      printResult(context, { json: { url, classes, model: version }, text: url }, settings.json);
      messages.info(`serving ${classifier.name}, ${classes} classes; Ctrl-C ends it`);
      const ended = new Promise<void>((resolve) => {
        if (context.signal.aborted) resolve();
        context.signal.addEventListener('abort', () => resolve(), { once: true });
      });
      if (model === null && reloadSeconds > 0) {
        const { watchWorkspace } = await import('../../serving/workspace-model.js');
        void watchWorkspace(settings.workspace, version, {
          ...from,
          everySeconds: reloadSeconds,
          signal: context.signal,
          onModel: (next) => server.replace(next),
          onFailure: (error) => server.failedToReplace(error),
          onEnd: fail,
        });
      }
      try {
        await Promise.race([ended, failed]);
      } finally {
        await server.close();
      }
    },
  };
}

async function open(
  model: string | null,
  workspace: string,
  from: {
    readonly backend: import('../../compute/backend.js').BackendName;
    readonly runtime: (typeof runtimes)[number];
  },
  options: Required<import('../../serving/model-thread.js').ModelThreadOptions>,
) {
  if (model === null) {
    const { openWorkspaceModel } = await import('../../serving/workspace-model.js');
    const opened = await openWorkspaceModel(workspace, { ...from, onEnd: options.onEnd });
    if (opened.note !== undefined) options.note(opened.note);
    return opened;
  }
  const { openInThread } = await import('../../serving/model-thread.js');
  const { hashFile } = await import('../../core/file-hashes.js');
  const { expectModelFile } = await import('../../models/onnx/model-file.js');
  await expectModelFile(model);
  const version = (await hashFile(model)).slice(0, 12);
  const classifier = await openInThread({ kind: 'file', path: model, runtime: from.runtime }, options);
  return { classifier, version, gallery: undefined };
}

async function readTokenFile(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: unknown) => {
    throw asFileError(error, path, 'a file of tokens');
  });
}

import { join, relative, resolve } from 'node:path';
import type { CommandModule } from 'yargs';
import { dropLeftoversOf, expectWritable } from '../../core/atomic-file.js';
import { KdSpecError } from '../../core/errors.js';
import type { JsonObject } from '../../core/json.js';
import { percent, shortPercent } from '../../core/percent.js';
import { count } from '../../core/quantity-text.js';
import type { PatchFigures } from '../../evaluation/patch-figures.js';
import type { RivalsReport } from '../../evaluation/rivals/compare-rivals.js';
import { rivalAccuracies } from '../../evaluation/rivals/rivals-table.js';
import type { PatchRecord } from '../../models/onnx/exported-metadata.js';
import type { ResolvedSettings } from '../../pipeline/settings.js';
import { stageNames } from '../../pipeline/stage-names.js';
import { addFlags, flagsOf } from '../command-line.js';
import { type CommandContext, printResult } from '../context.js';
import { lostByBystanders, makePatched, measureBystanders, type Patched } from '../make-patch.js';
import { type MeasuredPatch, patchSummary } from '../patch-summary.js';

/** The command that does all of it: somebody's model and images in, a better model out. */
export function patchCommand(context: CommandContext): CommandModule {
  return {
    command: 'patch <file>',
    describe:
      'Fix what an ONNX classifier confuses with labelled images, and write it as one file that harms nothing else',
    builder: (yargs) =>
      addFlags(
        yargs
          .positional('file', {
            type: 'string',
            describe: 'Patch this ONNX model, or this file that was patched before',
          })
          .option('images', {
            type: 'string',
            requiresArg: true,
            describe: 'Take labelled images of the classes in question from here, as with --source',
          })
          .option('out', {
            type: 'string',
            requiresArg: true,
            describe: 'Write the patched model to this file',
          })
          .option('replace-output', {
            type: 'boolean',
            describe: "Put the fused distribution where the model's own output was, too",
          }),
        stageNames,
      ),
    handler: async (argv) => {
      const flags = flagsOf(argv, stageNames);
      if (typeof argv.images !== 'string')
        throw new KdSpecError('usage', 'expected labelled images: --images FOLDER');
      if (typeof argv.out !== 'string') throw new KdSpecError('usage', 'expected where to write: --out FILE');
      if (flags.onnx !== undefined || flags.source !== undefined) {
        throw new KdSpecError(
          'usage',
          'patch takes the model as its argument and the images as --images: leave out --onnx and --source',
        );
      }
      const out = resolve(context.folder, argv.out);
      await expectWritable(out, 'file');
      const { expectEarlierExport } = await import('../earlier-export.js');
      await expectEarlierExport(out, { format: 'onnx' });
      await dropLeftoversOf(out);
      const { resolveSettings } = await import('../../pipeline/settings.js');
      const { bringUpToDate } = await import('../run-stages.js');
      const { metricsOf } = await import('../../pipeline/stage-metrics.js');
      const named = { ...flags, onnx: String(argv.file), source: argv.images };
      const given = await resolveSettings(named, context.env, { folder: context.folder });
      const resolved = isChosen(given, 'report.rivals') ? given : withRivals(given, true);
      const { refuseWhatCannotBeExported } = await import('../../pipeline/checks/specialists-checks.js');
      refuseWhatCannotBeExported(resolved.settings, 'patch writes one');
      const { expectExportable } = await import('../../ensemble/export/export-onnx.js');
      const { describeOnnx } = await import('../../models/onnx/import-onnx.js');
      const replaceOutput = argv['replace-output'] === true;
      const { model, imageSize, source } = resolved.settings.dataset;
      const { commonSize } = await import('../../data/image-sizes.js');
      const described = await describeOnnx(resolve(context.folder, String(argv.file)), {
        ...model,
        imageSize,
        exampleSize: () => commonSize(source),
      });
      expectExportable(described.model, { replaceOutput, output: described.head.output });
      if (resolved.settings.dryRun) {
        await bringUpToDate('report', resolved, context);
        return;
      }
      const { createTerminalLog, usesColor } = await import('../terminal-log.js');
      using log = createTerminalLog(context.stderr, {
        quiet: resolved.settings.quiet,
        color: usesColor(context.stderr, context.env),
      });
      // A bound that is kept on the bystanders that it was fitted on may not be on those for the test.
      const { harm } = resolved.settings.ensemble;
      const bounds = harm === null ? [null] : stricter.map((share) => share * harm);
      const watch = { signal: context.signal, log, ofEarlier: new Map<string, Int32Array>() };
      let inForce = resolved;
      let bystanders: PatchFigures | undefined;
      for (const bound of bounds) {
        if (bound !== harm) inForce = withHarmBound(resolved, bound);
        await bringUpToDate('ensemble', inForce, context);
        bystanders = await measureBystanders(inForce, watch);
        const lost = lostByBystanders({ bystanders });
        if (harm === null || lost <= harm) break;
        log.info(
          `bystanders for the test lose ${shortPercent(lost)}, more than --harm ${shortPercent(harm)} allows` +
            (bound === bounds.at(-1) ? '' : ': calibrating for a stricter bound'),
        );
      }
      const made = await makePatched(inForce, bystanders, { replaceOutput, ...watch });
      const outcomes = await bringUpToDate('report', inForce, context).catch((error: unknown) => {
        const isTooLarge = error instanceof KdSpecError && error.code === 'option-invalid';
        if (!isTooLarge || isChosen(given, 'report.rivals')) throw error;
        log.warn(`rivals are left out: ${error.message}`);
        return bringUpToDate('report', withRivals(inForce, false), context);
      });
      const result = await writePatched(out, made, {
        workspace: resolved.settings.workspace,
        bound: harm,
        calibratedFor: inForce.settings.ensemble.harm,
        isRefitted: inForce.settings.generalist.refit.share > 0,
        folder: context.folder,
        rivals: metricsOf('report', outcomes.at(-1)?.manifest.metrics ?? {})?.rivals,
      });
      printResult(context, result, resolved.settings.json);
    },
  };
}

/** Settings with another bound on the harm, which the workspace keeps: what comes after goes on with the same ensemble. */
function withHarmBound(
  { settings, origins, ...rest }: ResolvedSettings,
  harm: number | null,
): ResolvedSettings {
  return {
    ...rest,
    settings: { ...settings, ensemble: { ...settings.ensemble, harm } },
    origins: new Map([...origins, ['ensemble.harm', { kind: 'flag', where: '--harm' }]]),
  };
}

/** Settings with or without the comparison with rivals, which the workspace keeps for its report. */
function withRivals({ settings, origins, ...rest }: ResolvedSettings, rivals: boolean): ResolvedSettings {
  return {
    ...rest,
    settings: { ...settings, report: { ...settings.report, rivals } },
    origins: new Map([...origins, ['report.rivals', { kind: 'flag', where: '--with-rivals' }]]),
  };
}

/** Whether somebody chose the value of an option. */
function isChosen({ origins }: ResolvedSettings, key: string): boolean {
  const kind = origins.get(key)?.kind;
  return kind !== undefined && kind !== 'default';
}

/** Shares of the bound that calibration is tried with, until bystanders for the test lose no more than the bound. */
const stricter = [1, 1 / 2, 1 / 4];

/**
 * Writes a patched model where it is better than the model.
 *
 * @throws KdSpecError `patch-refused` where it is not: nothing is written
 */
async function writePatched(
  out: string,
  { model, compared, measured, added, earlier, ensemble }: Patched,
  {
    workspace,
    bound,
    calibratedFor,
    isRefitted,
    folder,
    rivals,
  }: {
    readonly workspace: string;
    /** On the harm, and the one that calibration kept. */
    readonly bound: number | null;
    readonly calibratedFor: number | null;
    /** Whether specialists stand on another last layer than the model's. */
    readonly isRefitted: boolean;
    readonly folder: string;
    /** Measured where the report shows them. */
    readonly rivals: RivalsReport | undefined;
  },
): Promise<{ readonly json: JsonObject; readonly text: string }> {
  const report = join(workspace, 'report', 'index.html');
  refuseWorse(measured, {
    added,
    bound,
    calibratedFor,
    isRefitted,
    rivals,
    report: relative(folder, report),
  });
  const { withPatchRecord } = await import('../../ensemble/export/export-onnx.js');
  const { writeOnnxModel } = await import('../../models/onnx/write-model.js');
  const { keepPatchRecord } = await import('../patch-record.js');
  const { test, bystanders, classes } = measured;
  const figuresOf = (when: 'before' | 'after') => ({
    top1: test[when],
    bystanders: bystanders?.[when] ?? null,
  });
  const record: PatchRecord = {
    specialists: added,
    classes,
    before: figuresOf('before'),
    after: figuresOf('after'),
  };
  const { files, bytes } = await writeOnnxModel(out, withPatchRecord(model, record).proto);
  await keepPatchRecord(workspace, ensemble, record);
  const json = {
    file: out,
    files: [...files],
    bytes,
    before: record.before,
    after: record.after,
    examples: { test: test.examples, bystanders: bystanders?.examples ?? 0 },
    classes,
    specialists: added,
    earlier: [...earlier],
    harmBound: bound,
    calibratedFor,
    compared,
    rivals: rivals ? rivalAccuracies(rivals).map((rival) => ({ ...rival })) : [],
    report,
  };
  const written = {
    measured,
    compared,
    added,
    earlier,
    bound,
    calibratedFor,
    rivals,
    file: out,
    bytes,
    report,
  };
  return { json, text: patchSummary(written, folder) };
}

/** @throws KdSpecError `patch-refused` */
function refuseWorse(
  { test, bystanders }: MeasuredPatch,
  {
    added,
    bound,
    calibratedFor,
    isRefitted,
    rivals,
    report,
  }: {
    readonly added: number;
    readonly bound: number | null;
    readonly calibratedFor: number | null;
    readonly isRefitted: boolean;
    readonly rivals: RivalsReport | undefined;
    readonly report: string;
  },
): void {
  const instead = `${rivals ? `. ${rivals.verdict.text}` : ''}\nreport: ${report}`;
  const refuse = (what: string) => new KdSpecError('patch-refused', `${what}; nothing was written${instead}`);
  if (added === 0) {
    throw refuse(
      (isRefitted
        ? 'no specialist was kept on the refitted layer: give a smaller --refit-share, more images of the classes that ' +
          'the model confuses'
        : 'no specialist was kept, so that the patched model would be the original: give more images of the classes that ' +
          'it confuses') +
        (bystanders && bound !== null
          ? `, or more bystanders: ${count(bystanders.examples)} tell a harm within --harm ${shortPercent(bound)} from chance ` +
            'only where hardly one of them changes'
          : ''),
    );
  }
  if (test.after <= test.before) {
    throw refuse(
      `the patched model gets ${percent(test.after)} of ${count(test.examples)} test images right, the original ` +
        `${percent(test.before)}: give more images, or another --seed`,
    );
  }
  const harm = lostByBystanders({ bystanders });
  if (bystanders && bound !== null && harm > bound) {
    throw refuse(
      `bystanders lose ${shortPercent(harm)} (${percent(bystanders.before)} to ${percent(bystanders.after)} of ` +
        `${count(bystanders.examples)}), more than --harm ${shortPercent(bound)} allows, though calibrated for ` +
        `${shortPercent(calibratedFor ?? bound)}: give bystanders that are more like those for the test, or allow more`,
    );
  }
}

/**
 * Writes docs/reference.md from the table of options:  npx tsx scripts/reference.ts
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { packageFolder } from '../src/core/package.js';
import { fusionRules } from '../src/ensemble/rules/index.js';
import { keyOf, type ListedOption, listedOptions, pipelineOptions } from '../src/pipeline/option-list.js';
import { describeValues } from '../src/pipeline/option-values.js';
import { stageCommands } from '../src/pipeline/stage-names.js';
import { stages } from '../src/pipeline/stages/index.js';

const introduction = `# Reference

<!-- Written by scripts/reference.ts from the table of options; edit src/pipeline/options/ instead. -->

## Where settings come from

From the strongest to the weakest: flags, environment variables, the pipeline file, the defaults of the data set (\`datasets/<name>/dataset.yaml\`), the defaults below. The pipeline file is the one that \`--pipeline\` names (\`kd-spec run FILE\` is short for \`kd-spec run --pipeline FILE\`), else \`pipeline.yaml\` in the workspace, else \`pipelines/default.yaml\` of the package. A command that succeeded, or that handed jobs to a cluster, writes the settings it was given into the workspace's \`pipeline.yaml\`, so that the next one goes on with them; one that failed or was interrupted leaves the file as it was, and goes on when it is run again with the same options. When a flag or a variable chooses another data set than the pipeline file does, the file's \`dataset\` section does not apply, which the command says. Options of other kinds of data set than the chosen one, and flags that would do nothing beside the others, are refused.

\`none\` (in a pipeline file \`null\`) leaves a choice to the data set or the stage. Items of a list are separated by commas on the command line; in a file they are a YAML list. A flag that is on or off accepts \`true\`, \`yes\`, \`1\`, \`false\`, \`no\` or \`0\` after an equals sign, as its variable does, and \`--no-\` before its name turns it off. Pipeline files are YAML with anchors and merge keys. Relative paths on the command line are relative to the current folder, those in a file to the folder of that file.

Each stage command takes the general options, its own, and those of all earlier stages, and brings the stages it needs up to date first. An option marked *execution* does not affect the result, so changing it does not run a stage again.
`;

/** The text of docs/reference.md. */
export function referencePage(): string {
  const general = listedOptions.filter(({ section }) => section === undefined);
  const sections = stages.map(
    ({ name, title }) =>
      `## \`${name}\`: \`kd-spec ${stageCommands[name]}\`\n\nMakes \`<workspace>/${name}\`: ${title}.\n\n` +
      optionTable(listedOptions.filter(({ section }) => section === name)),
  );
  const serve =
    '## `serve`: `kd-spec serve`\n\nServes the ensemble of a workspace, or an ONNX file, over HTTP, with a page to try ' +
    'it: see [serving](serving.md).\n\n' +
    optionTable(listedOptions.filter(({ section }) => section === 'serve'));
  return [
    introduction,
    `## General options\n\n${optionTable(general)}`,
    ...sections,
    serve,
    ruleSection(),
  ].join('\n');
}

/** The list of fusion rules. */
function ruleSection(): string {
  const described = fusionRules.map(({ name, title, problem, parameters }) => {
    const fitted = parameters.map(
      (parameter) =>
        `Fitted beside temperatures and weights: \`${parameter.name}\`, ${parameter.title}, one ` +
        `${parameter.per === 'ensemble' ? 'for the ensemble' : 'for each specialist'} ` +
        `(${parameter.neutral}, or ${parameter.range.join(' to ')}).\n`,
    );
    return [`### \`${name}\`\n`, `${title}.\n`, `    ${problem}\n`, ...fitted].join('\n');
  });
  return [
    '## Fusion rules\n',
    'The choices of `--rule`. [The method](method.md) explains them and the notation.\n',
    ...described,
  ].join('\n');
}

function optionTable(options: readonly ListedOption[]): string {
  const rows = options.map((listed) => {
    const { option, flag, environment } = listed;
    const key = pipelineOptions.includes(listed) ? `\`${keyOf(listed)}\`` : '';
    const note = option.affects === 'execution' && listed.section !== undefined ? ' *(execution)*' : '';
    const cells = [
      `\`--${flag}\``,
      `\`${environment}\``,
      key,
      describeDefault(option.default),
      describeValues(option),
      option.description + note,
    ];
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  });
  return `| flag | environment | pipeline key | default | values | meaning |\n|---|---|---|---|---|---|\n${rows.join('\n')}\n`;
}

function describeDefault(value: unknown): string {
  if (value === null) return 'none';
  return Array.isArray(value) ? value.join(',') : String(value);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  writeFileSync(join(packageFolder(), 'docs', 'reference.md'), referencePage());
}

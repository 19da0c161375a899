import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { packageFolder } from '../src/core/package.js';
import { readmeExample } from './support/readme-example.js';

/** An `@example` of a docstring, with the declaration that it belongs to. */
interface Example {
  /** Of the source, from the root of the package. */
  readonly file: string;
  readonly name: string;
  readonly code: string;
}

const root = packageFolder();
const configuration = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config;
const { options, fileNames } = ts.parseJsonConfigFileContent(
  { ...configuration, include: ['src'] },
  ts.sys,
  root,
);
const sources = fileNames.filter((path) => !path.endsWith('.test.ts'));
const publicPath = join(root, 'src', 'index.ts');
const exampleOf = (statement: ts.Node) =>
  ts.getJSDocTags(statement).find(({ tagName }) => tagName.text === 'example');

const examples: Example[] = [];
for (const path of sources) {
  const source = ts.createSourceFile(path, await readFile(path, 'utf8'), ts.ScriptTarget.ES2023, true);
  for (const statement of source.statements) {
    const tag = exampleOf(statement);
    if (!tag || !(ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement))) continue;
    const file = path.slice(root.length).replace(/^[/\\]/, '');
    examples.push({
      file,
      name: statement.name?.text ?? '',
      code: ts.getTextOfJSDocComment(tag.comment) ?? '',
    });
  }
}

/** An example as a module: the public names that it uses and its own function are there. */
function moduleOf({ file, name, code }: Example, publicNames: readonly string[]): string {
  const used = publicNames.filter((other) => other !== name && new RegExp(`\\b${other}\\b`).test(code));
  return (
    `import { ${name} } from './${file.replace(/\.ts$/, '.js')}';\n` +
    `import { ${used.join(', ')} } from './src/index.js';\nvoid ${name};\n${code}\nexport {};\n`
  );
}

const library: Record<string, unknown> = await import(pathToFileURL(publicPath).href);
const values = Object.keys(library);
const functions = values.filter((name) => /^(async )?function/.test(String(library[name])));

test('every public function has an example', () => {
  expect(functions.length).toBeGreaterThan(10);
  const named = examples.map(({ name }) => name);
  expect(functions.filter((name) => !named.includes(name))).toEqual([]);
});

test('every example fits the types, and so does that of the README', async () => {
  const written = examples.map((example) => ({ name: example.name, text: moduleOf(example, values) }));
  const ofReadme = (await readmeExample()).replace("from 'kd-spec'", "from './src/index.js'");
  written.push({ name: 'README.md', text: ofReadme });
  const modules = new Map(written.map(({ text }, index) => [join(root, `example-${index}.ts`), text]));
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile: read, getSourceFile } = host;
  host.fileExists = (path) => modules.has(path) || fileExists(path);
  host.readFile = (path) => modules.get(path) ?? read(path);
  host.getSourceFile = (path, version, ...rest) => {
    const text = modules.get(path);
    return text === undefined
      ? getSourceFile(path, version, ...rest)
      : ts.createSourceFile(path, text, version, true);
  };
  const compiled = ts.createProgram([...modules.keys()], { ...options, noUnusedLocals: false }, host);
  const complaints = [...modules.keys()].flatMap((path, index) =>
    ts
      .getPreEmitDiagnostics(compiled, compiled.getSourceFile(path))
      .map(
        ({ messageText }) => `${written[index].name}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`,
      ),
  );
  expect(complaints).toEqual([]);
});

/** An example that reads no files can be run anywhere. */
const isRun = ({ file, name, code }: Example) =>
  (functions.includes(name) || /^src[/\\](core|math)[/\\]/.test(file)) &&
  !/await (load|open|read|write)/.test(code) &&
  /; \/\/ /.test(code);

test.each(examples.filter(isRun))('the example of $name gives what it says', async (example) => {
  const { file, name, code } = example;
  const expectations = code.replace(
    /^(\S.*); \/\/ (.+)$/gm,
    (_, expression, value) => `results.push([${expression}, ${JSON.stringify(value)}]);`,
  );
  const body = ts
    .transpileModule(`export async function run() { ${expectations} }`, {
      compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ES2022 },
    })
    .outputText.replace('export ', 'return ');
  const own = await import(pathToFileURL(join(root, file)).href);
  const scope: Record<string, unknown> = { ...library, [name]: own[name] };
  const results: [unknown, string][] = [];
  const run = new Function('results', ...Object.keys(scope), body)(results, ...Object.values(scope));
  await run();
  expect(results.length).toBeGreaterThan(0);
  for (const [actual, said] of results) {
    const plain = ArrayBuffer.isView(actual) ? [...(actual as Float64Array)] : actual;
    const expected: unknown = JSON.parse(said.replaceAll("'", '"'));
    const digits = Math.max(0, ...[...said.matchAll(/\.(\d+)/g)].map(([, decimals]) => decimals.length));
    const rounded = (value: unknown): unknown =>
      typeof value === 'number'
        ? Number(value.toFixed(digits))
        : Array.isArray(value)
          ? value.map(rounded)
          : value;
    if (typeof expected === 'string' && expected.endsWith('...')) {
      expect(plain).toMatch(new RegExp(`^${expected.slice(0, -3).trim()}`));
    } else {
      expect(rounded(plain)).toEqual(expected);
    }
  }
});

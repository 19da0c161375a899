/**
 * Writes docs/schemas, the JSON Schema of what each command prints with --json:  npm run schemas
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { outputSchemas } from '../src/cli/output-schemas.js';
import { packageFolder } from '../src/core/package.js';

const titles: Readonly<Record<string, string>> = {
  plan: 'What every command that makes artefacts prints with --dry-run --json',
  jobs: 'What kd-spec jobs show --json and kd-spec jobs follow --json print',
};

/** The JSON Schema in docs/schemas/<command>.json, by command. */
export function schemaFiles(): ReadonlyMap<string, object> {
  return new Map(
    Object.entries(outputSchemas).map(([command, schema]) => {
      const title = titles[command] ?? `What kd-spec ${command} --json prints`;
      return [command, { title, ...z.toJSONSchema(schema) }];
    }),
  );
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const folder = join(packageFolder(), 'docs', 'schemas');
  mkdirSync(folder, { recursive: true });
  for (const [command, schema] of schemaFiles()) {
    writeFileSync(join(folder, `${command}.json`), `${JSON.stringify(schema, null, 2)}\n`);
  }
}

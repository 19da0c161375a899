import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What somebody wrote about the figures stands from this heading on; a page that is made again keeps it. */
export const readingHeading = '## Reading';

/** Writes `NAME.json` and `NAME.md` beside it, and prints the page. */
export function writeResult<Result>(
  folder: string,
  name: string,
  result: Result,
  render: (result: Result) => string,
): void {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}.md`);
  const page = existsSync(path) ? readFileSync(path, 'utf8') : '';
  const at = page.indexOf(readingHeading);
  const made = render(result);
  const text = JSON.stringify(result, withoutPlaces, 2);
  writeFileSync(join(folder, `${name}.json`), `${text}\n`);
  writeFileSync(path, at < 0 ? made : `${made}\n${page.slice(at)}`);
  process.stdout.write(made);
}

/** Where an artefact lay on somebody's machine, and by which paths a teacher was named, is nobody's concern. */
function withoutPlaces(key: string, value: unknown): unknown {
  return key === 'artefact' || (key === 'teacher' && typeof value === 'string') ? undefined : value;
}

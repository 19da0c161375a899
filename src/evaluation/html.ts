import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFolder } from '../core/package.js';

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text as it may stand in an element or in a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character]);
}

const columnsBesideEachOther = 4; // that a telephone has room for

/**
 * A table whose first column names its rows. One with more columns than a telephone has room for is shown there as a block
 * for each row.
 *
 * @param caption above the table
 * @param header the column names
 * @param rows cells as text; all columns but the first are numbers and stand to the right
 * @param options.holds what the cells hold; texts stand to the left and break anywhere
 */
export function htmlTable(
  caption: string,
  header: readonly string[],
  rows: readonly (readonly string[])[],
  { holds = 'numbers' }: { readonly holds?: 'numbers' | 'texts' } = {},
): string {
  const isText = holds === 'texts';
  const isStacked = isText || header.length > columnsBesideEachOther;
  const cellOf = (cell: string) => (isText ? escapeHtml(cell) : wrapped(cell, / (?=[±+])/));
  const head = header.map((cell) =>
    cell === ''
      ? `<td${role('cell')}></td>`
      : `<th scope="col"${role('columnheader')}>${wrapped(cell, / /)}</th>`,
  );
  const body = rows.map(([first, ...rest]) => {
    const cells = rest.map(
      (cell, index) =>
        `<td${role('cell')} data-label="${escapeHtml(header[index + 1])}">${cell === '' ? '' : `<span>${cellOf(cell)}</span>`}</td>`,
    );
    return `<tr${role('row')}><th scope="row"${role('rowheader')}>${escapeHtml(first)}</th>${cells.join('')}</tr>`;
  });
  // Without display: table, browsers no longer take it for a table: the roles keep it one for screen readers.
  function role(name: string): string {
    return isStacked ? ` role="${name}"` : '';
  }
  const kinds = ['scroll', ...(isStacked ? ['stack'] : []), ...(isText ? ['texts'] : [])];
  return (
    `<div class="${kinds.join(' ')}" tabindex="0" role="region" aria-label="${escapeHtml(caption)}"><table${role('table')}><caption>${escapeHtml(caption)}</caption>` +
    `<thead${role('rowgroup')}><tr${role('row')}>${head.join('')}</tr></thead>` +
    `<tbody${role('rowgroup')}>${body.join('')}</tbody></table></div>`
  );
}

/** Text of a cell that may break at the given places and nowhere else: words of a header, a standard error. */
function wrapped(cell: string, breaks: RegExp): string {
  return cell
    .split(breaks)
    .map((part) => `<span class="whole">${escapeHtml(part)}</span>`)
    .join(' ');
}

/** What a page holds beside its text. */
export interface PageParts {
  /** Ids of sections with their names, for a list of contents. */
  readonly contents?: readonly (readonly [id: string, name: string])[];
  /** Further rules of style. */
  readonly style?: string;
  /** What the script reads, as JSON. */
  readonly data?: unknown;
  /** The name of a file in `pages/`, whose code stands in the page. */
  readonly script?: string;
}

/**
 * One self-contained page: no request, light and dark. Its own policy forbids it to load anything.
 *
 * @param title as text
 * @param body as HTML
 */
export function htmlPage(
  title: string,
  body: string,
  { contents = [], style = '', data, script }: PageParts = {},
): string {
  const links = contents.map(([id, name]) => `<li><a href="#${id}">${escapeHtml(name)}</a></li>`).join('');
  const main = `<main>${body}</main>`;
  const inner =
    links === ''
      ? main
      : `<div class="with-contents"><nav class="contents" aria-label="Contents"><ul>${links}</ul></nav>${main}</div>`;
  // In JSON, < stands in strings alone: written so, no text of the data can end the element.
  const json =
    data === undefined
      ? ''
      : `<script type="application/json" id="data">${JSON.stringify(data).replaceAll('<', '\\u003c')}</script>`;
  const code = script === undefined ? '' : `<script type="module">${pageFile(script)}</script>`;
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">' +
    '<meta name="viewport" content="width=device-width, initial-scale=1">' +
    `<meta http-equiv="Content-Security-Policy" content="${policy}">` +
    `<meta name="color-scheme" content="light dark"><title>${escapeHtml(title)}</title>` +
    `<style>${pageFile('page.css')}${style}</style></head><body>${inner}${json}${code}</body></html>\n`
  );
}

const policy =
  "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/** A file that pages hold. */
function pageFile(name: string): string {
  return readFileSync(join(packageFolder(), 'pages', name), 'utf8');
}

/** What stands where the script of a page puts a list. */
export const withoutScript = '<p class="note">This list needs the script of the page.</p>';

/** A word that begins a sentence. */
export function titled(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

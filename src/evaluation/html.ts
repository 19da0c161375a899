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

/**
 * A table whose first column names its rows.
 *
 * @param caption said to everybody, above the table
 * @param header the column names
 * @param rows cells as text; all columns but the first are numbers and stand to the right
 */
export function htmlTable(
  caption: string,
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const head = header.map((cell) => `<th scope="col">${wrapped(cell, / /)}</th>`).join('');
  const body = rows
    .map(([first, ...rest]) => {
      const cells = rest.map((cell) => `<td>${wrapped(cell, / (?=[±+])/)}</td>`).join('');
      return `<tr><th scope="row">${escapeHtml(first)}</th>${cells}</tr>`;
    })
    .join('');
  return (
    `<div class="scroll"><table><caption>${escapeHtml(caption)}</caption>` +
    `<thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>`
  );
}

/** Text of a cell that may break at the given places and nowhere else: words of a header, a standard error. */
function wrapped(cell: string, breaks: RegExp): string {
  return cell
    .split(breaks)
    .map((part) => `<span class="whole">${escapeHtml(part)}</span>`)
    .join(' ');
}

/**
 * One self-contained page: no script, no request, light and dark.
 *
 * @param title as text
 * @param body as HTML
 */
export function htmlPage(title: string, body: string): string {
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">' +
    '<meta name="viewport" content="width=device-width, initial-scale=1">' +
    `<meta name="color-scheme" content="light dark"><title>${escapeHtml(title)}</title>` +
    `<style>${style}</style></head><body><main>${body}</main></body></html>\n`
  );
}

/** System fonts, two colours of meaning, colours for series. */
const style = `
:root { --ink: #1c2126; --soft: #5b6570; --line: #dfe3e8; --page: #fff; --card: #f5f7f9; --shade: #00000026; --gain: #1f7a5c; --loss: #b4492d;
  --series-1: #1f6fb2; --series-2: #b4492d; --series-3: #1f7a5c; --series-4: #8a4fa8; --series-5: #9a6a00; --series-6: #5b6570; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --soft: #9aa5b1; --line: #333b44; --page: #14181c; --card: #1d2329; --shade: #000000a0; --gain: #4fbf97; --loss: #e58a6d;
    --series-1: #6cb2ee; --series-2: #e58a6d; --series-3: #4fbf97; --series-4: #c795e3; --series-5: #d9ab4a; --series-6: #9aa5b1; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 860px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 8px; letter-spacing: -0.01em; }
h2 { font-size: 20px; margin: 0 0 12px; }
h3 { font-size: 15px; margin: 20px 0 6px; }
section { margin-top: 56px; }
p { margin: 0 0 12px; max-width: 68ch; }
.note { color: var(--soft); font-size: 14px; font-weight: 400; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 16px; margin: 28px 0; }
.card { background: var(--card); border-radius: 10px; padding: 20px 24px; }
.card h2 { font-size: 15px; color: var(--soft); font-weight: 500; margin: 0; }
.card p { margin: 0; }
.figure { font-size: 32px; line-height: 1.4; font-variant-numeric: tabular-nums; color: var(--soft); }
.figure strong { color: var(--ink); font-weight: 650; }
/* Shadows at the sides say that there is more to scroll to. */
.scroll { overflow-x: auto; margin-bottom: 12px; background: linear-gradient(to right, var(--page) 30%, transparent) left / 40px 100% no-repeat local, linear-gradient(to left, var(--page) 30%, transparent) right / 40px 100% no-repeat local, linear-gradient(to right, var(--shade), transparent) left / 14px 100% no-repeat scroll, linear-gradient(to left, var(--shade), transparent) right / 14px 100% no-repeat scroll; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: 6px; }
th, td { padding: 6px 0 6px 16px; text-align: right; vertical-align: baseline; border-bottom: 1px solid var(--line); }
th:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
.whole { white-space: nowrap; }
tbody th { font-weight: 500; }
.chart { margin-bottom: 12px; }
.chart svg { display: block; max-width: 100%; height: auto; overflow: visible; font: 13px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
.chart .chart-narrow { display: none; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 0 0 12px; padding: 0; font-size: 14px; font-weight: 600; }
.legend li::before { content: '●'; margin-right: 6px; }
@media (max-width: 640px) {
  main { padding: 24px 16px 56px; }
  section { margin-top: 40px; }
  h1 { font-size: 26px; }
  table { font-size: 13px; }
  th, td { padding-left: 9px; }
  .chart .chart-wide { display: none; }
  .chart .chart-narrow { display: block; margin: 0 auto; }
}
.example { display: flex; flex-wrap: wrap; gap: 24px 32px; align-items: flex-start; }
.example figure { margin: 0; width: 140px; }
.example img { display: block; width: 140px; height: auto; image-rendering: pixelated; border-radius: 8px; border: 1px solid var(--line); }
.example figcaption { color: var(--soft); font-size: 14px; margin-top: 8px; overflow-wrap: anywhere; }
.example figcaption strong { color: var(--ink); font-weight: 600; }
.predictions { flex: 1 1 480px; display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 20px 28px; }
.predictions h3 { margin: 0 0 8px; }
.bars { list-style: none; margin: 0; padding: 0; font-size: 14px; font-variant-numeric: tabular-nums; }
.bars li { display: flex; justify-content: space-between; gap: 12px; padding: 2px 0 7px; position: relative; color: var(--soft); }
.bars li > span:first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.bars li::before, .bars li::after { content: ''; position: absolute; left: 0; bottom: 2px; height: 4px; width: 100%; border-radius: 2px; background: var(--card); }
.bars li::after { width: max(calc(100% * var(--p)), 1px); background: var(--soft); }
.bars .true { color: var(--ink); font-weight: 600; }
.bars .true::after { background: var(--gain); }
.bars .dustbin { font-style: italic; }
.bars .dustbin::after { opacity: 0.45; }
summary { cursor: pointer; color: var(--soft); font-size: 14px; margin-bottom: 8px; }
.classes { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 6px; margin: 0; padding: 0; font-size: 14px; }
.classes li { background: var(--card); border-radius: 5px; padding: 1px 8px; }
.classes .more { background: none; color: var(--soft); }
`;

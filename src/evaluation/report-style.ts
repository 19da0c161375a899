/** The style sheet of the report page: system fonts, two colours of meaning, light and dark. */
export const reportStyle = `
:root { --ink: #1c2126; --soft: #5b6570; --line: #dfe3e8; --page: #fff; --card: #f5f7f9; --gain: #1f7a5c; --loss: #b4492d; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --soft: #9aa5b1; --line: #333b44; --page: #14181c; --card: #1d2329; --gain: #4fbf97; --loss: #e58a6d; }
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
.scroll { overflow-x: auto; margin-bottom: 12px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: 6px; }
th, td { padding: 6px 0 6px 16px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--soft); font-weight: 500; }
tbody th { font-weight: 500; }
svg { display: block; max-width: 100%; height: auto; min-width: 620px; font: 13px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
svg text { fill: var(--ink); }
svg .tick { fill: var(--soft); font-size: 12px; }
svg .grid { stroke: var(--line); }
svg .zero { stroke: var(--soft); }
svg .error { stroke: var(--ink); stroke-width: 1.5; opacity: 0.55; }
svg .gain { fill: var(--gain); }
svg .hollow { fill: var(--page); stroke: var(--gain); stroke-width: 1.5; }
svg .loss { fill: var(--loss); }
.example { display: flex; flex-wrap: wrap; gap: 24px 32px; align-items: flex-start; }
.example figure { margin: 0; width: 140px; }
.example img { display: block; width: 140px; height: auto; image-rendering: pixelated; border-radius: 8px; border: 1px solid var(--line); }
.example figcaption { color: var(--soft); font-size: 14px; margin-top: 8px; overflow-wrap: anywhere; }
.example figcaption strong { color: var(--ink); font-weight: 600; }
.answers { flex: 1 1 480px; display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 20px 28px; }
.answers h3 { margin: 0 0 8px; }
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

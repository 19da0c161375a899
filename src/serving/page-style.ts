/** The look of the pages: the report's colours, system fonts, light and dark, from 320 pixels on. */
export const pageStyle = `
:root { color-scheme: light dark; --ink: #1c2126; --soft: #57616b; --line: #dfe3e8; --page: #fff; --card: #f5f7f9; --well: #e9edf1;
  --accent: #1f6fb2; --on-accent: #fff; --plain: #7b8794; --gain: #1f7a5c; --loss: #b4492d; --gain-wash: #e3f3ec; --loss-wash: #fbe9e3; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --soft: #a3adb8; --line: #333b44; --page: #14181c; --card: #1d2329; --well: #29313a;
    --accent: #6cb2ee; --on-accent: #10161b; --plain: #7f8b97; --gain: #4fbf97; --loss: #e58a6d; --gain-wash: #17332a; --loss-wash: #3a221b; }
}
*, ::before, ::after { box-sizing: border-box; }
[hidden] { display: none !important; }
.visually-hidden { position: absolute; width: 1px; height: 1px; margin: -1px; padding: 0; overflow: hidden; clip-path: inset(50%); white-space: nowrap; border: 0; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.soft { color: var(--soft); font-size: 14px; font-weight: 400; }
a { color: var(--accent); text-underline-offset: 3px; }
:focus-visible, label:focus-within { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 6px; }
header, main { max-width: 1160px; margin: 0 auto; padding: 0 28px; }
header { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 18px; padding-top: 22px; padding-bottom: 22px; }
h1 { display: flex; align-items: center; gap: 10px; font-size: 19px; letter-spacing: -0.01em; margin: 0; }
header p { margin: 0; }
nav { margin-left: auto; display: flex; gap: 18px; }
nav a { text-decoration: none; color: var(--soft); padding: 4px 0; border-bottom: 2px solid transparent; }
nav a[aria-current] { color: var(--ink); border-color: var(--accent); }
main { display: grid; grid-template-columns: 320px minmax(0, 1fr); gap: 0 56px; padding-bottom: 80px; align-items: start; }
.left { position: sticky; top: 20px; }
h2 { font-size: 17px; margin: 0 0 10px; letter-spacing: -0.005em; }
h3 { font-size: 15px; margin: 0 0 8px; font-weight: 600; }
p { margin: 0 0 10px; max-width: 64ch; }
.large { font-size: 19px; font-weight: 600; margin-bottom: 4px; }
section + section, #correction { margin-top: 36px; }
ul, ol { list-style: none; margin: 0; padding: 0; }

#stage { position: relative; aspect-ratio: 1; border-radius: 16px; border: 2px dashed var(--line); background: var(--card); display: grid; place-items: center; overflow: hidden; }
#stage.filled { border: 1px solid var(--line); }
#stage.over { border: 2px dashed var(--accent); }
#stage.over::after { content: 'Drop it'; position: absolute; inset: 0; display: grid; place-items: center; background: color-mix(in srgb, var(--page) 80%, transparent); font-size: 20px; font-weight: 600; }
#picture, .invitation { grid-area: 1 / 1; text-align: center; }
.invitation p { margin: 0; }
#stage.filled .invitation { display: none; }
#picture { width: 100%; height: 100%; position: absolute; inset: 0; }
#picture img { width: 100%; height: 100%; object-fit: contain; display: block; }
#picture img.small, .pictures img, #strip img { image-rendering: pixelated; }
.buttons { display: flex; gap: 10px; margin-top: 14px; }
button, .button { font: inherit; font-size: 15px; font-weight: 550; color: var(--ink); background: var(--card); border: 1px solid var(--line); border-radius: 9px; padding: 9px 16px; min-height: 42px; cursor: pointer; text-align: center; white-space: nowrap; flex-shrink: 0; position: relative; }
.button { flex: 1; }
button:hover:not(:disabled), .button:hover { border-color: var(--plain); }
.primary { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
button:disabled { opacity: 0.45; cursor: default; }
.photograph { display: none; }
@media (pointer: coarse) { .photograph { display: block; } }
.bar { display: flex; align-items: center; gap: 8px; margin-bottom: 10px; }
.bar h2 { margin: 0; }
.bar .soft { margin-left: auto; white-space: nowrap; }
.bar button { padding: 0; width: 36px; min-height: 36px; line-height: 1; font-size: 20px; }
#strip { display: grid; grid-template-columns: repeat(6, 1fr); gap: 8px; }
#strip button { display: block; padding: 3px; width: 100%; min-height: 0; aspect-ratio: 1; border-radius: 9px; }
#strip button[aria-pressed='true'] { border-color: var(--accent); box-shadow: 0 0 0 2px var(--accent); }
#strip img { display: block; width: 100%; height: 100%; object-fit: contain; border-radius: 6px; }

#alert { background: var(--loss-wash); border-left: 4px solid var(--loss); border-radius: 0 10px 10px 0; padding: 12px 16px; max-width: none; }
.welcome { padding-top: 24px; color: var(--soft); }
.welcome .large { color: var(--ink); font-size: 26px; line-height: 1.25; letter-spacing: -0.015em; margin-bottom: 10px; }
.has-result .welcome, #alert:not([hidden]) ~ .welcome, #token:not([hidden]) ~ .welcome { display: none; }
#result[aria-busy] { opacity: 0.55; }
.verdict h2 { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 16px; font-size: 44px; line-height: 1.15; letter-spacing: -0.02em; margin: 0 0 4px; }
.verdict .sure { color: var(--accent); font-weight: 500; font-size: 28px; }
.verdict p { margin: 0; font-size: 16px; }
.verdict .badge { display: inline-block; margin-top: 10px; padding: 2px 12px; border-radius: 99px; font-size: 14px; font-weight: 600; }
.badge.right { background: var(--gain-wash); color: var(--gain); }
.badge.wrong { background: var(--loss-wash); color: var(--loss); }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(250px, 100%), 1fr)); gap: 24px 40px; margin-top: 28px !important; }
.bars li { position: relative; display: flex; align-items: baseline; justify-content: space-between; gap: 14px; padding: 2px 0 11px; }
.bars .name { min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.glyph { font-size: 21px; line-height: 1.3; }
.bars .value { color: var(--soft); font-size: 14px; }
.bars li::before, .bars li::after { content: ''; position: absolute; left: 0; bottom: 3px; height: 6px; border-radius: 3px; width: 100%; background: var(--well); }
.bars li::after { width: max(calc(100% * var(--p)), 2px); background: var(--plain); }
.ensemble li::after { background: var(--accent); }
.bars .true .name { font-weight: 650; }
.bars .true .name::after { content: ' ✓'; color: var(--gain); }
.bars .dustbin { color: var(--soft); font-style: italic; }
.bars .dustbin::after { background: repeating-linear-gradient(-45deg, var(--plain) 0 2px, transparent 2px 5px); }

.moves li { display: grid; grid-template-columns: minmax(64px, 150px) minmax(0, 1fr) 56px; gap: 14px; align-items: center; padding: 3px 0; }
.moves .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.moves .value { text-align: right; font-size: 14px; font-weight: 600; white-space: nowrap; }
.gain { --colour: var(--gain); } .loss { --colour: var(--loss); }
.moves .value { color: var(--colour); }
.track { position: relative; height: 16px; margin: 0 6px; background: linear-gradient(var(--well), var(--well)) center / 100% 2px no-repeat; }
.track::before { content: ''; position: absolute; top: 2px; width: 12px; height: 12px; margin-left: -6px; left: calc(100% * var(--g)); border-radius: 50%; border: 2px solid var(--plain); background: var(--page); }
.track::after { content: ''; position: absolute; top: 2px; width: 12px; height: 12px; margin-left: -6px; left: calc(100% * var(--e)); border-radius: 50%; background: var(--colour); }

.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(250px, 100%), 1fr)); gap: 16px; }
.card { background: var(--card); border-radius: 12px; padding: 16px 18px 14px; }
.card .bars li::before { background: var(--well); }
dl { display: grid; grid-template-columns: 1fr auto; gap: 2px 12px; margin: 12px 0 0; font-size: 13px; color: var(--soft); }
dd { margin: 0; text-align: right; color: var(--ink); }
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(200px, 100%), 1fr)); gap: 18px 24px; }
.examples li { display: grid; gap: 4px; }
.examples .true .name { font-weight: 650; }
.examples .true .name::after { content: ' ✓'; color: var(--gain); }
.pictures { display: grid; grid-template-columns: repeat(4, 1fr); gap: 4px; min-height: 48px; }
.pictures img { width: 100%; aspect-ratio: 1; object-fit: contain; border-radius: 7px; background: var(--card); border: 1px solid var(--line); }

#correction, #token { background: var(--card); border-radius: 12px; padding: 18px 20px; }
#token label { display: block; font-weight: 600; margin-bottom: 8px; }
#token p { margin: 8px 0 0; }
.row { display: flex; gap: 10px; max-width: 460px; }
input:not([type='file']) { font: inherit; color: var(--ink); background: var(--page); border: 1px solid var(--plain); border-radius: 9px; padding: 8px 12px; min-width: 0; width: 100%; min-height: 42px; }
input[aria-invalid] { border-color: var(--loss); }
#correction-problem { color: var(--loss); margin: 6px 0 0; font-size: 14px; }
#correction-problem:empty { margin: 0; }

.api main { display: block; max-width: 860px; }
details { border: 1px solid var(--line); border-radius: 12px; margin-top: 10px; padding: 0 18px; }
details[open] { padding-bottom: 14px; }
summary { cursor: pointer; padding: 12px 0; display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 12px; }
.method { font-size: 12px; font-weight: 700; letter-spacing: 0.04em; color: var(--accent); width: 40px; }
code, pre { font: 14px/1.5 ui-monospace, 'SFMono-Regular', 'Cascadia Mono', monospace; }
pre { background: var(--card); border-radius: 9px; padding: 12px 14px; overflow: auto; max-height: 420px; margin: 12px 0; }
.command { white-space: pre-wrap; }
.field { display: grid; grid-template-columns: 90px minmax(0, 220px) minmax(0, 1fr); gap: 4px 14px; align-items: center; margin-bottom: 10px; }
.field label { font-weight: 600; font-size: 14px; }
.responses { font-size: 14px; color: var(--soft); }

@media (max-width: 860px) {
  header, main { padding-left: 16px; padding-right: 16px; }
  header { padding-top: 14px; padding-bottom: 14px; }
  main { grid-template-columns: minmax(0, 1fr); gap: 28px; }
  .left { display: contents; }
  .right { order: 2; }
  #test-set { order: 3; margin-top: 0; }
  #stage { max-height: 300px; width: 100%; aspect-ratio: auto; height: 62vw; }
  .verdict h2 { font-size: 36px; }
  .verdict .sure { font-size: 24px; }
  .welcome { padding-top: 0; }
  .welcome .large { font-size: 22px; }
  .field { grid-template-columns: minmax(0, 1fr); }
}
@media (max-width: 400px) {
  #facts { order: 3; width: 100%; }
  .moves li { grid-template-columns: minmax(0, 1fr) auto; gap: 0 8px; padding: 4px 0; }
  .track { grid-row: 2; grid-column: 1 / -1; }
}
@media (prefers-reduced-motion: no-preference) {
  .bars li::after, .track::after { transition: width 0.25s ease-out, left 0.25s ease-out; }
}
`;

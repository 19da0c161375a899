import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { pageStyle } from './page-style.js';

/** A file that the page consists of. */
export interface PageFile {
  readonly path: string;
  readonly type: string;
  load(): Promise<{ readonly text: string; readonly tag: string }>;
}

/** What `tsc -p tsconfig.page.json` makes of the scripts in `page/`, beside what is compiled of this file. */
const scripts = ['main', 'api-page', 'api', 'dom', 'predictions', 'correction'] as const;

const icon =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" fill="#1f6fb2"/>' +
  '<path d="M3.5 11.5h5M3.5 8h9M3.5 4.5h3" stroke="#fff" stroke-width="2" stroke-linecap="round"/></svg>';

const head = (title: string, script: string) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" href="/page/icon.svg">
<link rel="stylesheet" href="/page/style.css">
<script type="module" src="/page/${script}.js"></script>
</head>`;

const mainPage = `${head('kd-spec', 'main')}
<body>
<header>
<h1><img src="/page/icon.svg" alt="" width="28" height="28">kd-spec</h1>
<p id="facts" class="soft"></p>
<nav aria-label="Pages"><a href="/" aria-current="page">Try it</a> <a href="/api">API</a></nav>
</header>
<main>
<div class="left">
<section aria-labelledby="image-title">
<h2 id="image-title" class="visually-hidden">Image</h2>
<div id="stage">
<div id="picture"></div>
<div class="invitation">
<p class="large">Drop an image here</p>
<p class="soft">or paste it</p>
</div>
</div>
<div class="buttons">
<label class="button primary">Choose image<input id="file" type="file" accept="image/*" class="visually-hidden"></label>
<label class="button photograph">Take photo<input id="camera" type="file" accept="image/*" capture="environment" class="visually-hidden"></label>
</div>
</section>
<section id="test-set" aria-labelledby="test-title" hidden>
<div class="bar"><h2 id="test-title">Test images</h2><span id="strip-place" class="soft"></span>
<button id="earlier" type="button" aria-label="Earlier test images" disabled>‹</button><button id="later" type="button" aria-label="Later test images">›</button></div>
<ul id="strip"></ul>
</section>
</div>
<div class="right">
<p id="status" role="status" class="visually-hidden"></p>
<p id="alert" role="alert" hidden></p>
<form id="token" hidden>
<label for="token-field">This server needs a token</label>
<div class="row"><input id="token-field" type="password" autocomplete="off" required><button class="primary">Go on</button></div>
<p class="soft">It is kept until this tab is closed.</p>
</form>
<div class="welcome">
<p class="large">What do generalist and specialists see?</p>
<p>The generalist predicts among all classes. Specialists for the classes that it confuses are queried where it points to them, and all predictions are fused into one. Choose an image to watch them work.</p>
</div>
<div id="result"></div>
<form id="correction" hidden>
<h2><label for="correction-class">Is this wrong? Then it is</label></h2>
<div class="row"><input id="correction-class" list="class-names" autocomplete="off" aria-describedby="correction-problem" placeholder="name of the class"><button>Keep</button></div>
<datalist id="class-names"></datalist>
<p id="correction-problem" role="alert"></p>
</form>
</div>
</main>
</body>
</html>
`;

const apiPage = `${head('API of kd-spec', 'api-page')}
<body class="api">
<header>
<h1><img src="/page/icon.svg" alt="" width="28" height="28">kd-spec</h1>
<nav aria-label="Pages"><a href="/">Try it</a> <a href="/api" aria-current="page">API</a></nav>
</header>
<main>
<div>
<h2>API</h2>
<p id="about" class="soft"></p>
<p>Machines read <a href="/openapi.json">openapi.json</a>.</p>
<div id="operations"></div>
</div>
</main>
</body>
</html>
`;

/** The files of the two pages: nothing else is served, and no path of a request is looked up on the disk. */
export const pageFiles: readonly PageFile[] = [
  text('/', 'text/html; charset=utf-8', mainPage),
  text('/api', 'text/html; charset=utf-8', apiPage),
  text('/page/style.css', 'text/css; charset=utf-8', pageStyle),
  text('/page/icon.svg', 'image/svg+xml', icon),
  ...scripts.map((name) => script(`/page/${name}.js`, new URL(`./page/${name}.js`, import.meta.url))),
];

function text(path: string, type: string, content: string): PageFile {
  return { path, type, load: async () => ({ text: content, tag: tagOf(content) }) };
}

function script(path: string, file: URL): PageFile {
  return {
    path,
    type: 'text/javascript; charset=utf-8',
    async load() {
      const content = await readFile(file, 'utf8');
      return { text: content, tag: tagOf(content) };
    },
  };
}

function tagOf(content: string): string {
  return `"${createHash('sha256').update(content).digest('base64url').slice(0, 16)}"`;
}

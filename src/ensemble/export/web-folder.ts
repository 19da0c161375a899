import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { asFileError } from '../../core/file-error.js';
import { makeFolder } from '../../core/make-folder.js';
import type { ClassNames } from '../../models/classifier.js';
import { writeOnnxModel } from '../../models/onnx/write-model.js';
import type { ExportedModel } from './export-onnx.js';

const require = createRequire(import.meta.url);

/** A browser holds the whole model in the memory of one WebAssembly module. */
const mostBytes = 2 ** 31 - 2 ** 26;

/**
 * Writes a folder of static files with a page that classifies dropped images in the browser: page, script, model and ONNX
 * Runtime. Any server of static files serves it; no image leaves the browser, and nothing is loaded from elsewhere.
 *
 * @param model exported with its preprocessing, so that it takes uint8 images
 * @returns bytes of all files
 * @throws KdSpecError `option-invalid` for a model that no browser holds
 */
export async function writeWebFolder(
  folder: string,
  model: ExportedModel,
  { classes, title }: { readonly classes: ClassNames; readonly title: string },
): Promise<number> {
  const { feed, fused, metadata } = model;
  const { image } = feed.form;
  // A student, or an ensemble that kept no specialist, predicts once.
  const columns =
    metadata.specialists === 0
      ? [['prediction', fused]]
      : [
          ['ensemble', fused],
          ['generalist', metadata.generalist],
        ];
  const settings = {
    title,
    input: feed.name,
    image,
    batch: feed.batch ?? 1,
    columns: columns.map(([, output]) => output),
    classes,
  };
  const runtime = dirname(require.resolve('onnxruntime-web'));
  try {
    await makeFolder(folder);
    const { files, bytes } = await writeOnnxModel(join(folder, 'model.onnx'), model.proto);
    if (files.length > 1 || bytes > mostBytes) {
      throw new KdSpecError(
        'option-invalid',
        'the model has over 2 GB, which no browser holds: --weights fp16 or int8 makes it smaller',
      );
    }
    const texts: Readonly<Record<string, string>> = {
      'index.html': page(
        title,
        columns.map(([name]) => name),
      ),
      'classify.js': script,
      'model.json': JSON.stringify(settings),
    };
    let total = bytes;
    for (const [name, text] of Object.entries(texts)) {
      await writeFile(join(folder, name), text);
      total += Buffer.byteLength(text);
    }
    // As `.js`: servers that know no `.mjs` would serve that as something that no browser runs.
    const copied = { 'ort.wasm.bundle.min.mjs': 'ort.js', 'ort-wasm-simd-threaded.wasm': 'ort.wasm' };
    for (const [name, to] of Object.entries(copied)) {
      await copyFile(join(runtime, name), join(folder, to));
      total += (await readFile(join(folder, to))).length;
    }
    return total;
  } catch (error) {
    throw asFileError(error, folder, 'the page');
  }
}

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');

const page = (title: string, columns: readonly string[]) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 0 auto; max-width: 44rem; padding: 1.5rem 1rem }
h1 { font-size: 1.4rem; line-height: 1.25 }
#drop { display: block; border: 2px dashed GrayText; border-radius: .6rem; padding: 2rem 1rem; text-align: center; cursor: pointer }
#drop:focus-within, #drop.over { border-color: Highlight; outline: 2px solid Highlight }
#drop input { position: absolute; opacity: 0; width: 1px }
#result { display: flex; flex-wrap: wrap; gap: 1.5rem; margin-top: 1.5rem }
#result[hidden] { display: none }
canvas { width: 9rem; image-rendering: pixelated; border: 1px solid GrayText; align-self: flex-start }
table { border-collapse: collapse; flex: 1; min-width: 16rem }
caption { text-align: left; font-size: .875rem; padding-bottom: .3rem }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; overflow-wrap: anywhere; border-bottom: 1px solid color-mix(in srgb, GrayText 40%, transparent) }
tbody tr:first-child td { font-weight: 600 }
th.number { font-weight: 400 }
.number { text-align: right; padding-right: 1.5rem; font-variant-numeric: tabular-nums }
.number:last-child { padding-right: 0 }
</style>
</head>
<body>
<main>
<h1>${escaped(title)}</h1>
<label id="drop">Drop an image here, or choose one<input id="file" type="file" accept="image/*" disabled></label>
<p id="status" role="status">Loading the model ...</p>
<section id="result" hidden>
<canvas aria-label="The image as the model sees it"></canvas>
<table>
<caption>The image stays in this browser.</caption>
<thead><tr>${columns.map((name) => `<th scope="col">${name}</th><th scope="col" class="number">share</th>`).join('')}</tr></thead>
<tbody></tbody>
</table>
</section>
</main>
<script type="module" src="classify.js"></script>
</body>
</html>
`;

const script = `import * as ort from './ort.js';

const status = document.getElementById('status');
const drop = document.getElementById('drop');
const file = document.getElementById('file');
const canvas = document.querySelector('canvas');
const result = document.getElementById('result');
const most = 5;

ort.env.wasm.wasmPaths = { wasm: new URL('./ort.wasm', import.meta.url).href };
ort.env.wasm.numThreads = 1; // more need headers that not every server of static files can set

const fail = (error) => {
  status.textContent = 'This did not work: ' + (error instanceof Error ? error.message : String(error));
};

async function load() {
  const response = await fetch('./model.json');
  if (!response.ok) throw new Error('model.json: ' + response.status);
  const model = await response.json();
  const session = await ort.InferenceSession.create('./model.onnx');
  file.disabled = false;
  status.textContent = model.classes.length.toLocaleString() + ' classes. Ready.';
  return { model, session };
}

const loading = load();
loading.catch(fail);

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
const lanczos = (x) => (x < 3 ? sinc(x) * sinc(x / 3) : 0);
const cubic = (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((2.5 - 0.5 * x) * x - 4) * x + 2 : 0);

/**
 * For each place of a row, the source's pixels that it is made of, and with which weights. As libvips does it: smaller by
 * Lanczos's kernel, to a whole number of pixels; larger by a cubic one, from corner to corner.
 */
function kernels(source, scale, size) {
  const scaled = Math.round(source * scale);
  const cut = Math.floor((scaled - size + 1) / 2);
  const isEnlarged = scale > 1;
  const ratio = isEnlarged ? 1 / scale : source / scaled;
  const wide = Math.max(1, ratio);
  const kernel = isEnlarged ? cubic : lanczos;
  return Array.from({ length: size }, (_, place) => {
    const middle = (place + cut + (isEnlarged ? 0 : 0.5)) * ratio - 0.5;
    const taps = [];
    for (let at = Math.ceil(middle - 3 * wide); at <= middle + 3 * wide; at++) {
      taps.push([Math.min(source - 1, Math.max(0, at)), kernel(Math.abs(at - middle) / wide)]);
    }
    const sum = taps.reduce((total, [, weight]) => total + weight, 0);
    return taps.map(([at, weight]) => [at, weight / sum]);
  });
}

const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const seen = (value) => (value <= 0.0031308 ? value * 12.92 : 1.055 * value ** (1 / 2.4) - 0.055);
const largestSide = 4096; // of what is scaled here; the browser makes what is larger smaller first

/** The image on white, as RGBA of its own size. */
async function readPixels(blob) {
  const bitmap = await createImageBitmap(blob);
  const shrink = Math.min(1, largestSide / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * shrink));
  const height = Math.max(1, Math.round(bitmap.height * shrink));
  const context = new OffscreenCanvas(width, height).getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.fillStyle = 'white';
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/**
 * The image as uint8 (height, width, channels): its middle, scaled to the size that the model takes. Scaled, and made grey
 * by the luminance of linear light, as kd-spec reads images elsewhere: the same picture gets the same prediction.
 */
async function pixelsOf(blob, { height, width, channels }) {
  const image = await readPixels(blob);
  const scale = Math.max(width / image.width, height / image.height);
  const rows = kernels(image.height, scale, height);
  const columns = kernels(image.width, scale, width);
  const stride = 4 * image.width;
  const low = new (scale > 1 ? Float32Array : Uint8ClampedArray)(height * stride);
  const sums = new Float32Array(stride);
  for (const [row, taps] of rows.entries()) {
    sums.fill(0);
    for (const [at, weight] of taps)
      for (let place = 0; place < stride; place++) sums[place] += weight * image.data[at * stride + place];
    low.set(sums, row * stride);
  }
  const shown = new ImageData(width, height);
  const out = new Uint8Array(width * height * channels);
  for (let row = 0; row < height; row++) {
    for (const [column, taps] of columns.entries()) {
      const pixel = row * width + column;
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (const [at, weight] of taps) sum += weight * low[row * stride + 4 * at + channel];
        shown.data[4 * pixel + channel] = sum;
      }
      shown.data[4 * pixel + 3] = 255;
      const rgb = shown.data.subarray(4 * pixel, 4 * pixel + 3);
      if (channels === 1) {
        const [r, g, b] = Array.from(rgb, (value) => linear(value / 255));
        rgb.fill(255 * seen(0.2126 * r + 0.7152 * g + 0.0722 * b));
        out[pixel] = rgb[0];
      } else out.set(rgb, 3 * pixel);
    }
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext('2d').putImageData(shown, 0, 0);
  return out;
}

async function classify(blob) {
  const { model, session } = await loading;
  status.textContent = 'Classifying ...';
  const { height, width, channels } = model.image;
  const pixels = await pixelsOf(blob, model.image);
  const batch = new Uint8Array(model.batch * pixels.length);
  batch.set(pixels);
  const started = performance.now();
  const tensor = new ort.Tensor('uint8', batch, [model.batch, height, width, channels]);
  const results = await session.run({ [model.input]: tensor });
  const ms = performance.now() - started;
  const top = (name) => {
    const values = results[name].data.subarray(0, model.classes.length);
    const order = Array.from(values.keys()).sort((a, b) => values[b] - values[a]).slice(0, most);
    return order.map((c) => [model.classes[c], (100 * values[c]).toFixed(1) + '%']);
  };
  const columns = model.columns.map(top);
  const body = result.querySelector('tbody');
  body.replaceChildren(
    ...columns[0].map((_, rank) => {
      const row = document.createElement('tr');
      for (const [place, text] of columns.flatMap((ranked) => ranked[rank]).entries()) {
        const cell = row.insertCell();
        cell.textContent = text;
        if (place % 2 === 1) cell.className = 'number';
      }
      return row;
    }),
  );
  result.hidden = false;
  status.textContent = 'Classified in ' + ms.toFixed(0) + ' ms.';
}

file.addEventListener('change', () => {
  if (file.files.length > 0) classify(file.files[0]).catch(fail);
});
for (const kind of ['dragover', 'dragleave', 'drop']) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle('over', kind === 'dragover');
    const [dropped] = kind === 'drop' ? event.dataTransfer.files : [];
    if (dropped) classify(dropped).catch(fail);
  });
}
`;

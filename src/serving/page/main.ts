import type { ClassifyMessage, ServerMessage, TestImagesMessage } from '../messages.js';
import { getImage, getJson, postImage, RequestFailure, sentence, useToken } from './api.js';
import { setUpCorrection } from './correction.js';
import { byId, count, h } from './dom.js';
import { picture, resultOf, summaryOf } from './predictions.js';

const named = 10; // classes that are asked for
const stripImages = 12;

const stage = byId('div', 'stage');
const stagePicture = byId('div', 'picture');
const file = byId('input', 'file');
const camera = byId('input', 'camera');
const status = byId('p', 'status');
const alert = byId('p', 'alert');
const result = byId('div', 'result');
const strip = byId('ul', 'strip');

interface Truth {
  readonly index: number;
  readonly class: string;
}
let server: ServerMessage | undefined;
let asked: Promise<ServerMessage> | undefined; // what is shown of an image depends on what the server says of itself
let shown: Blob | undefined;
let turn = 0; // the newest image wins, however slow the former was

function tell(text: string): void {
  status.textContent = text;
}

function fail(error: unknown): void {
  alert.textContent = error instanceof RequestFailure ? error.message : sentence(String(error));
  alert.hidden = false;
  tell('');
}

/** Shows an image and what is predicted for it. */
async function show(
  image: Blob,
  { truth, note = '', mine = ++turn }: { truth?: Truth | undefined; note?: string; mine?: number } = {},
): Promise<void> {
  shown = image;
  alert.hidden = true;
  result.setAttribute('aria-busy', 'true');
  tell('Predicting…');
  const preview = picture(image, truth ? `The image, of the class ${truth.class}` : 'The image');
  preview.addEventListener('error', () => preview.remove(), { once: true });
  preview.addEventListener('load', () => preview.classList.toggle('small', preview.naturalWidth < 96), {
    once: true,
  });
  stagePicture.replaceChildren(preview);
  stage.classList.add('filled');
  try {
    await asked?.catch(() => undefined); // the beginning tells that it failed
    if (mine !== turn) return;
    const trace = server?.canTrace ? '&trace=true' : '';
    const { images, errors } = await postImage<ClassifyMessage>(`/v1/classify?top=${named}${trace}`, image);
    if (mine !== turn) return;
    const [found] = images;
    if (found === undefined)
      throw new RequestFailure(422, sentence(errors?.[0]?.message ?? 'it is no image'));
    result.replaceChildren(...resultOf(found, { truth }));
    byId('form', 'correction').hidden = server?.takesCorrections !== true;
    document.body.classList.add('has-result');
    tell(`${note}${summaryOf(found)}`);
  } catch (error) {
    if (mine !== turn) return;
    result.replaceChildren();
    byId('form', 'correction').hidden = true;
    document.body.classList.remove('has-result');
    fail(error);
  } finally {
    if (mine === turn) result.removeAttribute('aria-busy');
  }
}

/** Takes the first of some files; others are not passed over in silence. */
function take(files: FileList | null | undefined): void {
  const [first, ...others] = files ?? [];
  if (first === undefined) return;
  history.replaceState(null, '', location.pathname);
  markThumbnail(undefined);
  void show(first, { note: others.length > 0 ? `This is the first of ${1 + others.length} images. ` : '' });
}

for (const input of [file, camera]) {
  input.addEventListener('change', () => {
    take(input.files);
    input.value = '';
  });
}
document.addEventListener('paste', (event) => take(event.clipboardData?.files));
let inside = 0; // how many elements the dragged file is over
document.addEventListener('dragenter', () => stage.classList.toggle('over', ++inside > 0));
document.addEventListener('dragleave', () => stage.classList.toggle('over', --inside > 0));
document.addEventListener('dragover', (event) => event.preventDefault());
document.addEventListener('drop', (event) => {
  event.preventDefault();
  inside = 0;
  stage.classList.remove('over');
  if (event.dataTransfer?.files.length) take(event.dataTransfer.files);
  else fail(new RequestFailure(0, 'Nothing to read was dropped: drop an image file.'));
});

// Images of the test set.

let offset = 0;
function markThumbnail(row: number | undefined): void {
  for (const button of strip.querySelectorAll('button'))
    button.setAttribute('aria-pressed', String(button.dataset.row === String(row)));
}

async function showTestImage(row: number): Promise<void> {
  const mine = ++turn;
  const [image, { images }] = await Promise.all([
    getImage(`/v1/test-images/${row}`),
    getJson<TestImagesMessage>(`/v1/test-images?offset=${row}&limit=1`),
  ]).catch((error: unknown) => {
    if (mine === turn) result.removeAttribute('aria-busy'); // what an earlier image left
    throw error;
  });
  const [{ index, class: name }] = images;
  if (mine !== turn) return;
  history.replaceState(null, '', `#test-${row}`);
  markThumbnail(row);
  await show(image, { truth: index < 0 ? undefined : { index, class: name }, mine });
}

async function fillStrip(): Promise<void> {
  const { count: all, images } = await getJson<TestImagesMessage>(
    `/v1/test-images?offset=${offset}&limit=${stripImages}`,
  );
  byId('span', 'strip-place').textContent =
    all === 0 ? '' : `${count(offset + 1)}–${count(offset + images.length)} of ${count(all)}`;
  byId('button', 'earlier').disabled = offset === 0;
  byId('button', 'later').disabled = offset + images.length >= all;
  const items = images.map(({ row, class: name }) => {
    const label = `Test image ${row}, of ${name}`;
    const button = h('button', {
      type: 'button',
      'data-row': row,
      'aria-pressed': 'false',
      'aria-label': label,
    });
    button.addEventListener('click', () => void showTestImage(row).catch(fail));
    return { row, button };
  });
  strip.replaceChildren(...items.map(({ button }) => h('li', {}, button)));
  for (const { row, button } of items) button.append(picture(await getImage(`/v1/test-images/${row}`), ''));
}

for (const [id, step] of [
  ['earlier', -stripImages],
  ['later', stripImages],
] as const) {
  byId('button', id).addEventListener('click', () => {
    offset = Math.max(0, offset + step);
    void fillStrip().catch(fail);
  });
}

// The beginning.

async function begin(): Promise<void> {
  try {
    asked = getJson<ServerMessage>('/v1');
    server = await asked;
  } catch (error) {
    if (error instanceof RequestFailure && error.status === 401) {
      byId('form', 'token').hidden = false;
      byId('input', 'token-field').focus();
      return;
    }
    throw error;
  }
  const { classes, specialists, image, testImages } = server;
  byId('form', 'token').hidden = true;
  byId('p', 'facts').textContent = [
    `${count(classes)} classes`,
    ...(specialists > 0 ? [`${count(specialists)} specialist${specialists === 1 ? '' : 's'}`] : []),
    `${image.height} × ${image.width} ${image.channels === 1 ? 'grey' : 'colour'}`,
  ].join(' · ');
  if (testImages > 0) {
    byId('section', 'test-set').hidden = false;
    const row = Number(/^#test-(\d+)$/.exec(location.hash)?.[1] ?? Number.NaN);
    const isRow = row < testImages;
    if (isRow) offset = row - (row % stripImages);
    await fillStrip();
    if (isRow) await showTestImage(row);
  }
}

byId('form', 'token').addEventListener('submit', (event) => {
  event.preventDefault();
  useToken(byId('input', 'token-field').value.trim());
  alert.hidden = true;
  void begin().catch(fail);
});
setUpCorrection(() => shown, tell);
void begin().catch(fail);

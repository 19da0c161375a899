// @ts-check
/**
 * What moves in a report: lists that are searched and paged, and the map of confusions. It stands in the page itself and
 * reads what the element `#data` holds.
 *
 * @typedef {import('../src/evaluation/report-page.js').PageData} PageData
 * @typedef {PageData['specialists'][number]} Specialist
 */

const data = /** @type {PageData} */ (JSON.parse(document.getElementById('data')?.textContent ?? '{}'));
const { classes, counts, confusions, specialists, thumbnails: sheet } = data;
const gains = new Map(data.gains.map((gain) => [gain.id, gain]));
const number = new Intl.NumberFormat('en');
/** @type {Map<number, number>} cell of each class that has an image */
const cellOf = new Map(sheet.classes.map((label, cell) => [label, cell]));
/** @type {number[][]} specialists of each class, by position */
const coveredBy = classes.map(() => []);
for (const [position, { classes: members }] of specialists.entries()) {
  for (const label of members) coveredBy[label].push(position);
}

const sheetStyle = document.createElement('style');
sheetStyle.textContent = `.thumb { background-image: url("${sheet.picture}"); }`;
document.head.append(sheetStyle);

// Words and elements.

/** @param {number} fraction @param {number} [digits] */
const percent = (fraction, digits = 1) => `${(100 * fraction).toFixed(digits)}%`;

/** @param {number} fraction @param {number} [digits] */
function signed(fraction, digits = 1) {
  const text = (100 * Math.abs(fraction)).toFixed(digits);
  return `${Number(text) === 0 ? '' : fraction < 0 ? '−' : '+'}${text}%`;
}

/** @param {number} value @param {string} one @param {string} [many] */
const plural = (value, one, many = `${one}s`) => `${number.format(value)} ${value === 1 ? one : many}`;

/**
 * An element; a child that is a string is text.
 *
 * @param {string} tag
 * @param {Record<string, string | boolean | (() => void)>} attributes functions listen to the event of their name
 * @param {...(Node | string)} children
 */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(name, value);
    else if (value !== false) made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children);
  return made;
}

/** A change in the colour of its sign. @param {number} value @param {string} text */
const change = (value, text) => element('span', { class: value > 0 ? 'up' : value < 0 ? 'down' : '' }, text);

/** The image of a class, so many pixels high, a very wide one lower. @param {number} label @param {number} most */
function thumbnail(label, most) {
  const width = Math.round(Math.min(3 * most, (most * sheet.width) / sheet.height));
  const height = Math.round((width * sheet.height) / sheet.width);
  const cell = cellOf.get(label);
  const size = `width:${width}px;height:${height}px`;
  if (cell === undefined) return element('span', { class: 'thumb', style: `${size};background-image:none` });
  const [x, y] = [cell % sheet.columns, Math.floor(cell / sheet.columns)];
  return element('span', {
    class: 'thumb',
    role: 'img',
    'aria-label': `an image of ${classes[label]}`,
    style:
      `${size};background-size:${sheet.columns * width}px ${sheet.rows * height}px;` +
      `background-position:${-x * width}px ${-y * height}px`,
  });
}

/** @param {number} label */
const named = (label) =>
  element('span', { class: 'named' }, thumbnail(label, 32), element('span', {}, classes[label]));

// A list that is searched, sorted and paged.

/**
 * @template T
 * @param {string} id of the element that gets the list
 * @param {{
 *   items: readonly T[],
 *   what: string,
 *   search: string,
 *   matches: (item: T, query: string) => boolean,
 *   sorts: readonly (readonly [name: string, key: (item: T) => number])[],
 *   perPage: number,
 *   show: (items: readonly T[]) => Node,
 * }} list a sort is by rising key
 */
function pagedList(id, { items, what, search, matches, sorts, perPage, show }) {
  const root = document.getElementById(id);
  if (!root) return;
  let [query, sort, page] = ['', 0, 0];
  const input = /** @type {HTMLInputElement} */ (
    element('input', { type: 'search', placeholder: search, 'aria-label': search })
  );
  const order = /** @type {HTMLSelectElement} */ (element('select', {}));
  for (const [index, [name]] of sorts.entries())
    order.append(element('option', { value: String(index) }, name));
  const place = element('div');
  const status = element('span', { role: 'status' });
  const back = /** @type {HTMLButtonElement} */ (element('button', { type: 'button' }, 'Previous'));
  const next = /** @type {HTMLButtonElement} */ (element('button', { type: 'button' }, 'Next'));
  const controls = element('div', { class: 'controls' }, input);
  if (sorts.length > 1) controls.append(element('label', {}, 'Order', order));

  function update() {
    const key = sorts[sort][1];
    const found = items.filter((item) => query === '' || matches(item, query));
    const keys = new Map(found.map((item) => [item, key(item)]));
    found.sort((a, b) => (keys.get(a) ?? 0) - (keys.get(b) ?? 0));
    page = Math.max(0, Math.min(page, Math.ceil(found.length / perPage) - 1));
    const first = page * perPage;
    const shown = found.slice(first, first + perPage);
    place.replaceChildren(shown.length > 0 ? show(shown) : element('p', { class: 'note' }, 'Nothing found.'));
    status.textContent =
      found.length === 0
        ? `0 of ${number.format(items.length)} ${what}`
        : `${number.format(first + 1)} to ${number.format(first + shown.length)} of ${number.format(found.length)} ${what}`;
    back.disabled = page === 0;
    next.disabled = first + perPage >= found.length;
  }
  /** @param {number} by */
  const turn = (by) => {
    page += by;
    update();
    if (root.getBoundingClientRect().top < 0) root.scrollIntoView();
  };
  input.addEventListener('input', () => {
    [query, page] = [input.value.trim().toLowerCase(), 0];
    update();
  });
  order.addEventListener('change', () => {
    [sort, page] = [Number(order.value), 0];
    update();
  });
  back.addEventListener('click', () => turn(-1));
  next.addEventListener('click', () => turn(1));
  root.replaceChildren(controls, place, element('div', { class: 'pager' }, back, next, status));
  update();
}

/** @param {number} label @param {string} query */
const isNamed = (label, query) => classes[label].toLowerCase().includes(query);

/**
 * A table; the first cell of a row names it. On a telephone a row is a block, each figure under the name of its column, so
 * that the roles have to tell screen readers that it is a table.
 *
 * @param {string} caption
 * @param {readonly string[]} header
 * @param {readonly (readonly (Node | string)[])[]} rows
 */
function table(caption, header, rows) {
  const cells = header.map((cell) => element('th', { scope: 'col', role: 'columnheader' }, cell));
  const body = rows.map(([first, ...rest]) =>
    element(
      'tr',
      { role: 'row' },
      element('th', { scope: 'row', role: 'rowheader' }, first),
      ...rest.map((cell, index) => element('td', { role: 'cell', 'data-label': header[index + 1] }, cell)),
    ),
  );
  return element(
    'div',
    { class: 'scroll listed', tabindex: '0', role: 'region', 'aria-label': caption },
    element(
      'table',
      { role: 'table' },
      element('caption', {}, caption),
      element('thead', { role: 'rowgroup' }, element('tr', { role: 'row' }, ...cells)),
      element('tbody', { role: 'rowgroup' }, ...body),
    ),
  );
}

// The lists.

const evaluated = classes.map((_, label) => label).filter((label) => counts.images[label] > 0);
/** @param {number} label */
const changeOf = (label) => (counts.ensemble[label] - counts.generalist[label]) / counts.images[label];

pagedList('class-list', {
  items: evaluated,
  what: 'classes',
  search: 'Find a class by name',
  matches: isNamed,
  sorts: [
    ['most changed', (label) => -Math.abs(changeOf(label))],
    ['most gained', (label) => -changeOf(label)],
    ['most lost', (label) => changeOf(label)],
    ['least accurate', (label) => counts.ensemble[label] / counts.images[label]],
    ['most images', (label) => -counts.images[label]],
    ['as in the data set', (label) => label],
  ],
  perPage: 20,
  show: (labels) =>
    table(
      `Top-1 of each class, on ${data.split} images`,
      ['class', 'images', 'generalist', 'ensemble', 'change', 'specialists'],
      labels.map((label) => {
        const images = counts.images[label];
        const kept = coveredBy[label].filter((position) => specialists[position].kept);
        return [
          named(label),
          number.format(images),
          percent(counts.generalist[label] / images, 0),
          percent(counts.ensemble[label] / images, 0),
          change(changeOf(label), signed(changeOf(label), 0)),
          kept.map((position) => String(specialists[position].id)).join(', ') || 'none',
        ];
      }),
    ),
});

/** Both directions of a confusion together. */
const pairs = (() => {
  /** @type {Map<number, { a: number, b: number, generalist: number, ensemble: number }>} */
  const found = new Map();
  for (const [label, predicted, generalist, ensemble] of confusions) {
    const [a, b] = label < predicted ? [label, predicted] : [predicted, label];
    const key = a * classes.length + b;
    const pair = found.get(key) ?? { a, b, generalist: 0, ensemble: 0 };
    found.set(key, pair);
    pair.generalist += generalist;
    pair.ensemble += ensemble;
  }
  return [...found.values()];
})();

const namedCell = 16; // pixels of the map for each class, from which names stand beside the cells
const map = createMap();

pagedList('pair-list', {
  items: pairs,
  what: 'pairs of classes',
  search: 'Find a pair by a class',
  matches: ({ a, b }, query) => isNamed(a, query) || isNamed(b, query),
  sorts: [
    ['most confused by the generalist', ({ generalist }) => -generalist],
    ['most confused by the ensemble', ({ ensemble }) => -ensemble],
    ['most improved', ({ generalist, ensemble }) => ensemble - generalist],
    ['most worsened', ({ generalist, ensemble }) => generalist - ensemble],
  ],
  perPage: 10,
  show: (shown) =>
    table(
      `${data.split === 'test' ? 'Test' : 'Validation'} images of one class taken for the other`,
      ['pair', 'generalist', 'ensemble', 'change', 'place'],
      shown.map(({ a, b, generalist, ensemble }) => [
        element('span', {}, named(a), named(b)),
        number.format(generalist),
        number.format(ensemble),
        change(
          generalist - ensemble,
          ensemble === generalist
            ? '0'
            : `${ensemble < generalist ? '−' : '+'}${Math.abs(ensemble - generalist)}`,
        ),
        element('button', { type: 'button', class: 'plain', click: () => map?.goTo(a, b) }, 'map'),
      ]),
    ),
});

/** @param {number} value @param {number} error */
const within = (value, error) => change(value, `${signed(value)} ± ${(100 * error).toFixed(1)}`);

/** @param {Specialist} specialist */
function card({
  id,
  classes: members,
  kept,
  reason,
  temperature,
  weight,
  dustbinCorrection,
  isCorrectedByImage,
}) {
  const gain = gains.get(id);
  /** @type {(readonly [string, Node | string])[]} */
  const facts = [
    ['classes', number.format(members.length)],
    ...(gain
      ? [
          /** @type {const} */ ([
            `own gain, ${plural(gain.covered.examples, 'image')} of its classes`,
            within(gain.covered.gain, gain.covered.standardError),
          ]),
          /** @type {const} */ ([
            `ensemble’s gain, ${plural(gain.routed.examples, 'image')} where active`,
            within(gain.routed.gain, gain.routed.standardError),
          ]),
        ]
      : []),
    [
      isCorrectedByImage ? 'dustbin correction, before that of each image' : 'dustbin correction',
      `${dustbinCorrection < 0 ? '−' : '+'}${Math.abs(dustbinCorrection).toFixed(2)} nats`,
    ],
    ['temperature, weight', `${temperature.toPrecision(3)}, ${weight.toPrecision(3)}`],
  ];
  const samples = members
    .slice(0, 8)
    .map((label) =>
      element(
        'li',
        { title: classes[label] },
        thumbnail(label, 40),
        element('span', { class: 'label' }, classes[label]),
      ),
    );
  const all = element('details', {}, element('summary', {}, 'All classes, the most typical first'));
  all.addEventListener(
    'toggle',
    () =>
      all.append(
        element('ul', { class: 'classes' }, ...members.map((label) => element('li', {}, classes[label]))),
      ),
    { once: true },
  );
  return element(
    'article',
    { class: 'tile' },
    element(
      'h3',
      {},
      `Specialist ${id}`,
      element('span', { class: `badge ${kept ? 'up' : 'down'}` }, kept ? 'kept' : 'left out'),
    ),
    element('ul', { class: 'samples' }, ...samples),
    element(
      'dl',
      {},
      ...facts.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]),
    ),
    element('p', { class: 'note' }, `${kept ? 'Kept' : 'Left out'}: ${reason}.`),
    all,
  );
}

/** @param {Specialist} specialist @param {'covered' | 'routed'} which */
const gainOf = ({ id }, which) => gains.get(id)?.[which].gain ?? Number.NEGATIVE_INFINITY;

pagedList('specialist-list', {
  items: specialists,
  what: 'specialists',
  search: 'Find by number, class, kept or left out',
  matches: ({ id, classes: members, kept }, query) =>
    String(id) === query ||
    (kept ? 'kept' : 'left out') === query ||
    (!/^\d+$/.test(query) && members.some((label) => isNamed(label, query))),
  sorts: [
    ['by number', ({ id }) => id],
    ['ensemble’s gain', (specialist) => -gainOf(specialist, 'routed')],
    ['own gain', (specialist) => -gainOf(specialist, 'covered')],
    ['size', ({ classes: members }) => -members.length],
  ],
  perPage: 6,
  show: (shown) => element('div', { class: 'tiles' }, ...shown.map(card)),
});

// The map of confusions: a row a true class, a column a predicted one, ordered by subset.

function createMap() {
  const canvas = /** @type {HTMLCanvasElement | null} */ (document.getElementById('map-canvas'));
  const detail = document.getElementById('map-detail');
  const context = canvas?.getContext('2d');
  if (!canvas || !detail || !context) return undefined;
  const size = classes.length;

  // Classes in the order of the subsets; of overlapping ones the first that holds a class counts.
  const place = new Int32Array(size).fill(-1);
  /** @type {number[]} */
  const order = [];
  /** @type {{ id: number, from: number, to: number }[]} */
  const blocks = [];
  for (const { id, classes: members } of specialists) {
    const from = order.length;
    for (const label of members) {
      if (place[label] >= 0) continue;
      place[label] = order.length;
      order.push(label);
    }
    if (order.length > from) blocks.push({ id, from, to: order.length });
  }
  for (let label = 0; label < size; label++) {
    if (place[label] >= 0) continue;
    place[label] = order.length;
    order.push(label);
  }

  let mode = /** @type {'generalist' | 'ensemble' | 'change'} */ ('generalist');
  let view = { x: 0, y: 0, size };
  let pinned = -1;
  const picture = new Image();
  picture.src = sheet.picture;
  picture.addEventListener('load', () => draw());

  /** @param {number} entry */
  const countOf = (entry) => {
    const [, , generalist, ensemble] = confusions[entry];
    return mode === 'generalist' ? generalist : mode === 'ensemble' ? ensemble : ensemble - generalist;
  };

  /** The room for names, which there are where cells are large enough. */
  function frame() {
    const width = canvas?.clientWidth ?? 1;
    const height = canvas?.clientHeight ?? 1;
    const hasNames = width / view.size >= namedCell;
    const left = hasNames ? Math.min(170, Math.round(width * 0.3)) : 22;
    const top = hasNames ? Math.min(130, Math.round(height * 0.26)) : 22;
    return {
      left,
      top,
      hasNames,
      width,
      height,
      cellX: (width - left) / view.size,
      cellY: (height - top) / view.size,
    };
  }

  function draw() {
    if (!canvas || !context) return;
    const ratio = Math.min(2, devicePixelRatio || 1);
    const { left, top, hasNames, width, height, cellX, cellY } = frame();
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const style = getComputedStyle(document.documentElement);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
    context.fillStyle = colour('page');
    context.fillRect(0, 0, width, height);
    context.save();
    context.beginPath();
    context.rect(left, top, width - left, height - top);
    context.clip();

    // Subsets, as shaded squares.
    context.fillStyle = colour('card');
    context.strokeStyle = colour('line');
    for (const { from, to } of blocks) {
      const [x, y] = [left + (from - view.x) * cellX, top + (from - view.y) * cellY];
      context.fillRect(x, y, (to - from) * cellX, (to - from) * cellY);
      if ((to - from) * cellX > 12) context.strokeRect(x, y, (to - from) * cellX, (to - from) * cellY);
    }

    // Entries: in bins of a few pixels while a class is smaller than that.
    const bin = Math.max(2.5, cellX);
    /** @type {Map<number, number>} */
    const sums = new Map();
    let most = 1;
    for (const [entry, [label, predicted]] of confusions.entries()) {
      const [x, y] = [place[predicted] - view.x, place[label] - view.y];
      if (x < 0 || y < 0 || x >= view.size || y >= view.size) continue;
      const key = Math.floor((y * cellX) / bin) * 65536 + Math.floor((x * cellX) / bin);
      const sum = (sums.get(key) ?? 0) + countOf(entry);
      sums.set(key, sum);
    }
    for (const sum of sums.values()) most = Math.max(most, Math.abs(sum));
    const [ink, gain, loss] = [colour('accent'), colour('gain'), colour('loss')];
    const gap = bin > 8 ? 1 : 0;
    for (const [key, sum] of sums) {
      if (sum === 0) continue;
      context.globalAlpha = 0.25 + (0.75 * Math.log1p(Math.abs(sum))) / Math.log1p(most);
      context.fillStyle = mode !== 'change' ? ink : sum < 0 ? gain : loss;
      const [x, y] = [left + (key % 65536) * bin, top + (Math.floor(key / 65536) * bin * cellY) / cellX];
      context.fillRect(x, y, bin - gap, (bin * cellY) / cellX - gap);
    }
    context.globalAlpha = 1;
    if (pinned >= 0) {
      const [label, predicted] = confusions[pinned];
      context.strokeStyle = colour('ink');
      context.lineWidth = 2;
      const side = Math.max(10, cellX);
      context.strokeRect(
        left + (place[predicted] - view.x + 0.5) * cellX - side / 2,
        top + (place[label] - view.y + 0.5) * cellY - side / 2,
        side,
        side,
      );
      context.lineWidth = 1;
    }
    context.restore();
    drawAxes({ left, top, hasNames, width, height, cellX, cellY }, colour);
  }

  /** @param {ReturnType<typeof frame>} frame @param {(name: string) => string} colour */
  function drawAxes({ left, top, hasNames, width, height, cellX, cellY }, colour) {
    if (!context) return;
    const soft = colour('soft');
    context.fillStyle = soft;
    context.textBaseline = 'middle';
    context.font = '12px system-ui, sans-serif';
    if (!hasNames) {
      context.textAlign = 'center';
      context.fillText('predicted class →', left + (width - left) / 2, top / 2);
      context.save();
      context.translate(left / 2, top + (height - top) / 2);
      context.rotate(-Math.PI / 2);
      context.fillText('← true class', 0, 0);
      context.restore();
      return;
    }
    const image = cellX >= 20 && picture.complete && sheet.classes.length > 0 ? Math.min(cellX - 2, 40) : 0;
    const scale = image / Math.max(1, sheet.width, sheet.height);
    const [wide, high] = [sheet.width * scale, sheet.height * scale];
    context.imageSmoothingEnabled = false;
    context.font = `${Math.min(13, Math.max(10, cellX - 2))}px system-ui, sans-serif`;
    for (let index = 0; index < view.size; index++) {
      for (const isRow of [true, false]) {
        const label = order[Math.floor(isRow ? view.y : view.x) + index];
        if (label === undefined) continue;
        context.save();
        if (isRow) context.translate(left - 4, top + (index + 0.5) * cellY);
        else {
          context.translate(left + (index + 0.5) * cellX, top - 4);
          context.rotate(Math.PI / 2);
        }
        context.textAlign = 'right';
        const cell = cellOf.get(label);
        if (image > 0 && cell !== undefined) {
          const [x, y] = [
            (cell % sheet.columns) * sheet.width,
            Math.floor(cell / sheet.columns) * sheet.height,
          ];
          if (isRow)
            context.drawImage(picture, x, y, sheet.width, sheet.height, -wide, -high / 2, wide, high);
          else {
            context.save();
            context.rotate(-Math.PI / 2);
            context.drawImage(picture, x, y, sheet.width, sheet.height, -wide / 2, -high, wide, high);
            context.restore();
          }
        }
        const taken = isRow ? wide : high;
        const room = (isRow ? left : top) - (image > 0 ? taken + 10 : 8);
        context.fillText(fitted(classes[label], room), image > 0 ? -taken - 5 : 0, 0);
        context.restore();
      }
    }
  }

  /** A text cut to a width in pixels. @param {string} text @param {number} room */
  function fitted(text, room) {
    if (!context || context.measureText(text).width <= room) return text;
    let kept = text;
    while (kept.length > 1 && context.measureText(`${kept}…`).width > room) kept = kept.slice(0, -1);
    return `${kept}…`;
  }

  /** The entry at a point of the canvas, or the most frequent one near it. @param {number} x @param {number} y */
  function entryAt(x, y) {
    const { left, top, cellX, cellY } = frame();
    const reach = Math.max(0.5, 6 / cellX);
    const [column, row] = [view.x + (x - left) / cellX - 0.5, view.y + (y - top) / cellY - 0.5];
    let best = -1;
    for (const [entry, [label, predicted]] of confusions.entries()) {
      if (Math.abs(place[predicted] - column) > reach || Math.abs(place[label] - row) > reach) continue;
      if (countOf(entry) === 0) continue;
      if (best < 0 || Math.abs(countOf(entry)) > Math.abs(countOf(best))) best = entry;
    }
    return best;
  }

  /** @param {number} entry */
  function describe(entry) {
    if (!detail || entry < 0) return;
    const [label, predicted, generalist, ensemble] = confusions[entry];
    const images = number.format(counts.images[label]);
    detail.replaceChildren(
      element(
        'div',
        { class: 'pair' },
        named(label),
        element('span', { class: 'note' }, 'taken for'),
        named(predicted),
      ),
      element(
        'p',
        { class: 'note' },
        `By the generalist ${number.format(generalist)} of ${images}, by the ensemble ${number.format(ensemble)} of ${images} images.`,
      ),
    );
  }

  /** @param {number} x @param {number} y @param {number} extent in classes */
  function look(x, y, extent) {
    const least = Math.min(size, 6);
    const next = Math.max(least, Math.min(size, extent));
    const clamp = (/** @type {number} */ value) => Math.max(0, Math.min(size - next, value));
    const isWhole = next <= 90; // names stand beside whole cells
    view = {
      x: isWhole ? Math.round(clamp(x)) : clamp(x),
      y: isWhole ? Math.round(clamp(y)) : clamp(y),
      size: isWhole ? Math.round(next) : next,
    };
    if (canvas) canvas.style.touchAction = view.size < size ? 'none' : 'pan-y';
    draw();
  }

  /** Zooms around a point of the canvas. @param {number} factor @param {number} [x] @param {number} [y] */
  function zoom(factor, x, y) {
    const { left, top, width, height, cellX, cellY } = frame();
    const [atX, atY] = [(x ?? (left + width) / 2) - left, (y ?? (top + height) / 2) - top];
    const [column, row] = [view.x + atX / cellX, view.y + atY / cellY];
    const extent = Math.max(Math.min(size, 6), Math.min(size, view.size * factor));
    look(column - (atX / (width - left)) * extent, row - (atY / (height - top)) * extent, extent);
  }

  // Pointers: one drags, two pinch; a tap or click pins, a second one zooms in.
  /** @type {Map<number, { x: number, y: number }>} */
  const pointers = new Map();
  let moved = 0;
  /** @param {PointerEvent | MouseEvent | WheelEvent} event */
  const pointOf = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  };
  canvas.addEventListener('pointerdown', (event) => {
    pointers.set(event.pointerId, pointOf(event));
    if (pointers.size === 1) moved = 0;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener('pointermove', (event) => {
    const now = pointOf(event);
    const before = pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === 'mouse' && pinned < 0) describe(entryAt(now.x, now.y));
      return;
    }
    const { cellX, cellY } = frame();
    moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (pointers.size === 2) {
      const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
      if (other) {
        const [from, to] = [before, now].map(({ x, y }) => Math.hypot(x - other.x, y - other.y));
        if (to > 0) zoom(from / to, (now.x + other.x) / 2, (now.y + other.y) / 2);
      }
      pointers.set(event.pointerId, now);
      return;
    }
    // Whole cells move by whole classes: the way is kept until it is one.
    const [byX, byY] = [(before.x - now.x) / cellX, (before.y - now.y) / cellY];
    if (view.size <= 90 && Math.abs(byX) < 0.5 && Math.abs(byY) < 0.5) return;
    pointers.set(event.pointerId, now);
    look(view.x + byX, view.y + byY, view.size);
  });
  for (const name of /** @type {const} */ (['pointerup', 'pointercancel'])) {
    canvas.addEventListener(name, (event) => {
      pointers.delete(event.pointerId);
      if (name === 'pointercancel' || moved > 6) return;
      const { x, y } = pointOf(event);
      pinned = entryAt(x, y);
      describe(pinned);
      draw();
    });
  }
  canvas.addEventListener('dblclick', (event) => {
    const { x, y } = pointOf(event);
    zoom(0.4, x, y);
  });
  canvas.addEventListener(
    'wheel',
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the page
      event.preventDefault();
      const { x, y } = pointOf(event);
      zoom(Math.exp(event.deltaY / 200), x, y);
    },
    { passive: false },
  );
  canvas.addEventListener('keydown', (event) => {
    const step = view.size / 8;
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowLeft: () => look(view.x - step, view.y, view.size),
      ArrowRight: () => look(view.x + step, view.y, view.size),
      ArrowUp: () => look(view.x, view.y - step, view.size),
      ArrowDown: () => look(view.x, view.y + step, view.size),
      '+': () => zoom(0.5),
      '=': () => zoom(0.5),
      '-': () => zoom(2),
      0: () => look(0, 0, size),
    };
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  // Controls.
  const modes = /** @type {const} */ ([
    ['generalist', 'Generalist'],
    ['ensemble', 'Ensemble'],
    ['change', 'Change'],
  ]);
  const buttons = modes.map(([name, text]) => {
    const button = element('button', { type: 'button', 'aria-pressed': String(name === mode) }, text);
    button.addEventListener('click', () => {
      mode = name;
      for (const [index, other] of buttons.entries())
        other.setAttribute('aria-pressed', String(modes[index][0] === name));
      draw();
    });
    return button;
  });
  const chooser = /** @type {HTMLSelectElement} */ (
    element('select', {}, element('option', { value: '' }, 'whole map'))
  );
  for (const [index, { id, from, to }] of blocks.entries()) {
    const name = classes[order[from]];
    chooser.append(
      element('option', { value: String(index) }, `${id}: ${name}, … (${number.format(to - from)})`),
    );
  }
  chooser.addEventListener('change', () => {
    const block = blocks[Number(chooser.value)];
    if (chooser.value === '' || !block) look(0, 0, size);
    else look(block.from, block.from, block.to - block.from);
  });
  document
    .getElementById('map-controls')
    ?.replaceChildren(
      ...buttons,
      element(
        'span',
        { class: 'together' },
        element('button', { type: 'button', 'aria-label': 'Zoom in', click: () => zoom(0.5) }, '+'),
        element('button', { type: 'button', 'aria-label': 'Zoom out', click: () => zoom(2) }, '−'),
      ),
      element('label', {}, 'Subset', chooser),
    );
  new ResizeObserver(() => draw()).observe(canvas);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => draw());
  addEventListener('beforeprint', () => draw());
  // Where few classes are in a subset, as in a model that was patched, the map begins with these.
  const covered = blocks.at(-1)?.to ?? size;
  look(0, 0, covered < size / 4 ? covered : size);
  const first = confusions.findIndex((_, entry) => countOf(entry) > 0);
  describe(first);

  return {
    /** Shows both directions of a confusion. @param {number} a @param {number} b */
    goTo(a, b) {
      const [low, high] = [place[a], place[b]].sort((x, y) => x - y);
      const entry = confusions.findIndex(
        ([label, predicted]) => (label === a && predicted === b) || (label === b && predicted === a),
      );
      const [label, predicted] = entry < 0 ? [a, b] : confusions[entry];
      pinned = entry;
      const extent = Math.min(24, Math.floor(frame().width / namedCell)); // with names beside the cells
      if (high - low < extent - 4) look((low + high - extent) / 2, (low + high - extent) / 2, extent);
      else look(place[predicted] - extent / 2, place[label] - extent / 2, extent);
      describe(entry);
      canvas.scrollIntoView({ block: 'center' });
    },
  };
}

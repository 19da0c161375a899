import type { ClassifiedMessage, ClassMessage, RankedClassMessage, SpecialistMessage } from '../messages.js';
import { getImage, getJson } from './api.js';
import { count, h, percent } from './dom.js';

const barClasses = 5; // of generalist and ensemble
const specialistClasses = 4;
const movedRows = 8;
const leastMoved = 0.0005; // less is shown as 0.0 points
const shownExamples = 4; // images of a class
const questionedClasses = 6;

/** A class in a list: short names, such as characters, stand larger. */
function className(name: string): HTMLElement {
  return h('span', { class: [...name].length <= 2 ? 'name glyph' : 'name', title: name }, name);
}

/**
 * Bars of a prediction.
 *
 * @param options.truth the class that is known to be right
 */
function bars(
  ranked: readonly RankedClassMessage[],
  { truth, dustbin }: { readonly truth: number | undefined; readonly dustbin?: number },
): HTMLElement {
  const rows = ranked.map(({ index, class: name, probability }) =>
    h(
      'li',
      { '--p': probability, class: index === truth ? 'true' : undefined },
      className(name),
      h('span', { class: 'value' }, percent(probability)),
      index === truth && h('span', { class: 'visually-hidden' }, ' (the true class)'),
    ),
  );
  if (dustbin !== undefined) {
    rows.push(
      h(
        'li',
        { '--p': dustbin, class: 'dustbin' },
        h('span', { class: 'name' }, 'none of its classes'),
        h('span', { class: 'value' }, percent(dustbin)),
      ),
    );
  }
  return h('ol', { class: 'bars' }, ...rows);
}

/** What is predicted, in one sentence, for those who listen to the page. */
export function summaryOf({ generalist, ensemble, specialists }: ClassifiedMessage): string {
  const first = ensemble?.[0];
  if (first === undefined) return 'No prediction.';
  const before = generalist?.[0];
  const says = `${first.class}, ${percent(first.probability)}.`;
  if (before === undefined) return `The model predicts ${says}`;
  const queried = specialists?.length ?? 0;
  const number = queried === 0 ? 'No specialist' : `${queried} specialist${queried === 1 ? '' : 's'}`;
  const of = specialists === undefined ? 'The model does not name its specialists.' : `${number} queried.`;
  return before.index === first.index
    ? `Generalist and ensemble predict ${says} ${of}`
    : `The ensemble predicts ${says} The generalist predicts ${before.class}, ${percent(before.probability)}. ${of}`;
}

/** The result for one image. */
export function resultOf(
  image: ClassifiedMessage,
  { truth }: { readonly truth: { readonly index: number; readonly class: string } | undefined },
): readonly HTMLElement[] {
  const { generalist, ensemble = [], specialists } = image;
  return [
    verdict(image, truth),
    h(
      'section',
      { class: 'sides', 'aria-labelledby': 'sides-title' },
      h('h2', { id: 'sides-title', class: 'visually-hidden' }, 'Predictions'),
      generalist &&
        h(
          'div',
          { class: 'side generalist' },
          h('h3', {}, 'Generalist'),
          bars(generalist.slice(0, barClasses), { truth: truth?.index }),
        ),
      h(
        'div',
        { class: 'side ensemble' },
        h('h3', {}, generalist ? 'Ensemble' : 'Prediction'),
        bars(ensemble.slice(0, barClasses), { truth: truth?.index }),
      ),
    ),
    ...movedSection(image),
    ...(generalist === undefined ? [] : [specialistSection(specialists, truth?.index)]),
    examplesSection(image, truth),
  ];
}

function verdict(
  { generalist, ensemble }: ClassifiedMessage,
  truth: { readonly index: number; readonly class: string } | undefined,
): HTMLElement {
  const first = ensemble?.[0];
  const before = generalist?.[0];
  const isChanged = before !== undefined && first !== undefined && before.index !== first.index;
  const note =
    before === undefined || first === undefined
      ? ''
      : isChanged
        ? `The generalist alone predicts ${before.class} (${percent(before.probability)}).`
        : `So does the generalist alone (${percent(before.probability)}).`;
  const known = (rank: RankedClassMessage | undefined) => rank !== undefined && rank.index === truth?.index;
  const judged =
    truth === undefined
      ? undefined
      : known(first)
        ? h('p', { class: 'badge right' }, isChanged ? '✓ right; the generalist is not' : '✓ right')
        : h('p', { class: 'badge wrong' }, `✗ it is ${truth.class}`);
  return h(
    'section',
    { class: 'verdict', 'aria-labelledby': 'verdict-title' },
    h(
      'h2',
      { id: 'verdict-title' },
      h('span', { class: 'what' }, first?.class ?? 'nothing'),
      h('span', { class: 'sure' }, percent(first?.probability ?? 0)),
    ),
    h('p', { class: 'soft' }, note),
    judged,
  );
}

/** Where probability went: a hollow point is the generalist's, a full one the ensemble's. */
function movedSection({ moved = [], specialists = [] }: ClassifiedMessage): readonly HTMLElement[] {
  const isSeen = ({ generalist, ensemble }: (typeof moved)[number]) =>
    Math.abs(ensemble - generalist) >= leastMoved;
  const seen = moved.filter(isSeen);
  const rows = seen.length > 0 ? seen.slice(0, movedRows) : moved.slice(0, 1); // the one that moved most
  if (rows.length === 0) return [];
  const most = Math.max(...rows.flatMap(({ generalist, ensemble }) => [generalist, ensemble]));
  return [
    h(
      'section',
      { 'aria-labelledby': 'moved-title' },
      h('h2', { id: 'moved-title' }, 'How the mass moved'),
      h(
        'p',
        { class: 'soft' },
        'From the generalist’s probability (ring) to the ensemble’s (dot), in points.',
        specialists.length === 0 && ' No specialist took part: calibration alone made it.',
      ),
      h(
        'ul',
        { class: 'moves' },
        ...rows.map(({ class: name, generalist, ensemble }) => {
          const points = 100 * (ensemble - generalist);
          const change = `${points >= 0 ? '+' : '−'}${Math.abs(points).toFixed(1)}`;
          return h(
            'li',
            { class: points >= 0 ? 'gain' : 'loss', '--g': generalist / most, '--e': ensemble / most },
            className(name),
            h('span', { class: 'track', 'aria-hidden': 'true' }),
            h('span', { class: 'value' }, change),
            h(
              'span',
              { class: 'visually-hidden' },
              ` points, from ${percent(generalist)} to ${percent(ensemble)}`,
            ),
          );
        }),
      ),
    ),
  ];
}

function specialistSection(
  specialists: readonly SpecialistMessage[] | undefined,
  truth: number | undefined,
): HTMLElement {
  const cards = specialists?.map(({ id, dustbin, top, trace }) =>
    h(
      'li',
      { class: 'card' },
      h(
        'h3',
        {},
        `Specialist ${id}`,
        trace && h('span', { class: 'soft' }, ` ${count(trace.classes)} classes`),
      ),
      bars(top.slice(0, specialistClasses), { truth, dustbin }),
      trace &&
        h(
          'dl',
          {},
          h('dt', {}, 'Mass on its classes'),
          h('dd', {}, `${percent(trace.mass.generalist)} → ${percent(trace.mass.ensemble)}`),
          h('dt', {}, 'Dustbin corrected by'),
          h('dd', {}, `${trace.correction.toFixed(2)} nats`),
        ),
    ),
  );
  return h(
    'section',
    { 'aria-labelledby': 'specialists-title' },
    h('h2', { id: 'specialists-title' }, 'Specialists queried'),
    cards === undefined
      ? h('p', { class: 'soft' }, 'Not named: the file was exported without --trace.')
      : cards.length === 0
        ? h(
            'p',
            { class: 'soft' },
            'None: no specialist that takes part has the generalist’s likely classes.',
          )
        : h('ul', { class: 'cards' }, ...cards),
  );
}

/** Example images of the classes in question, which arrive one after the other. */
function examplesSection(
  { generalist = [], ensemble = [] }: ClassifiedMessage,
  truth: { readonly index: number; readonly class: string } | undefined,
): HTMLElement {
  const questioned = new Map<number, string>();
  if (truth !== undefined) questioned.set(truth.index, truth.class);
  for (let rank = 0; rank < barClasses && questioned.size < questionedClasses; rank++)
    for (const one of [ensemble[rank], generalist[rank]]) if (one) questioned.set(one.index, one.class);
  const list = h('ul', { class: 'examples' });
  const section = h(
    'section',
    { 'aria-labelledby': 'examples-title', hidden: true },
    h('h2', { id: 'examples-title' }, 'The classes in question'),
    list,
  );
  void (async () => {
    for (const [index, name] of [...questioned].slice(0, questionedClasses)) {
      const { examples } = await getJson<ClassMessage>(`/v1/classes/${index}`);
      if (examples === 0) continue;
      const pictures = h('span', { class: 'pictures' });
      list.append(h('li', { class: index === truth?.index ? 'true' : undefined }, pictures, className(name)));
      section.hidden = false;
      for (let number = 0; number < Math.min(examples, shownExamples); number++) {
        const image = await getImage(`/v1/classes/${index}/examples/${number}`);
        pictures.append(picture(image, `Example ${number + 1} of ${name}`));
      }
    }
  })().catch(() => {}); // without examples the predictions stand by themselves
  return section;
}

/** An image that frees its memory once it is drawn. */
export function picture(image: Blob, alt: string): HTMLImageElement {
  const url = URL.createObjectURL(image);
  const element = h('img', { src: url, alt });
  element.addEventListener('load', () => URL.revokeObjectURL(url), { once: true });
  return element;
}

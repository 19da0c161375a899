import type { ClassesMessage, CorrectionMessage } from '../messages.js';
import { getJson, postImage, RequestFailure } from './api.js';
import { byId, h } from './dom.js';

const suggestions = 20;
const pauseMs = 120; // in typing, before names are looked up

/**
 * The form of "this is wrong, it is X".
 *
 * @param current the image that is shown
 * @param tell says something to everybody
 */
export function setUpCorrection(current: () => Blob | undefined, tell: (text: string) => void): void {
  const form = byId('form', 'correction');
  const field = byId('input', 'correction-class');
  const names = byId('datalist', 'class-names');
  const problem = byId('p', 'correction-problem');
  let timer: number | undefined;

  field.addEventListener('input', () => {
    problem.textContent = '';
    field.removeAttribute('aria-invalid');
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const found = await find(field.value).catch(() => undefined);
      if (found) names.replaceChildren(...found.classes.map((one) => h('option', { value: one.class })));
    }, pauseMs);
  });
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const image = current();
    const name = field.value.trim();
    if (image === undefined || name === '') return refuse('Type the name of the right class.');
    try {
      const { classes } = await find(name);
      const exact =
        classes.find((one) => one.class === field.value) ?? classes.find((one) => one.class.trim() === name);
      if (exact === undefined) return refuse(`The model has no class “${name}”. Choose one of the list.`);
      const kept = await postImage<CorrectionMessage>(`/v1/corrections?index=${exact.index}`, image);
      field.value = '';
      tell(kept.isReplaced ? `Now kept as ${kept.class}.` : `Kept as ${kept.class}. Thank you.`);
    } catch (error) {
      refuse(error instanceof RequestFailure ? error.message : String(error));
    }
  });

  function refuse(text: string): void {
    problem.textContent = text;
    field.setAttribute('aria-invalid', 'true');
    field.focus();
  }
}

function find(name: string): Promise<ClassesMessage> {
  return getJson(`/v1/classes?limit=${suggestions}&query=${encodeURIComponent(name)}`);
}

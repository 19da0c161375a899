import { authorization } from './api.js';
import { byId, h } from './dom.js';

/** What the page reads of an OpenAPI document. */
interface Description {
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: 'query' | 'path';
    readonly description: string;
    readonly required: boolean;
    readonly schema: { readonly type: string; readonly default?: string | number | boolean };
  }[];
  readonly requestBody?: object;
  readonly responses: Readonly<Record<string, { readonly description: string }>>;
}

const shownLetters = 20_000; // of a response

/** A form for one operation, folded until it is wanted. */
function operationForm(method: string, path: string, operation: Operation): HTMLElement {
  const { operationId: id, parameters = [] } = operation;
  const fields = parameters.map((parameter) => ({
    parameter,
    input: h('input', {
      id: `${id}-${parameter.name}`,
      name: parameter.name,
      required: parameter.required,
      placeholder: parameter.schema.default === undefined ? undefined : String(parameter.schema.default),
      inputmode: parameter.schema.type === 'integer' ? 'numeric' : undefined,
      autocomplete: 'off',
    }),
  }));
  const files = operation.requestBody
    ? h('input', { id: `${id}-files`, type: 'file', multiple: true, required: true })
    : undefined;
  const command = h('pre', {
    class: 'command',
    tabindex: 0,
    role: 'region',
    'aria-label': 'The same with curl',
  });
  const response = h('pre', {
    class: 'response',
    tabindex: 0,
    role: 'region',
    'aria-label': 'Response',
    hidden: true,
  });
  const status = h('p', { role: 'status' });

  const target = () => {
    const query = new URLSearchParams();
    let filled = path;
    for (const { parameter, input } of fields) {
      if (parameter.in === 'path')
        filled = filled.replace(`{${parameter.name}}`, encodeURIComponent(input.value || '0'));
      else if (input.value !== '') query.set(parameter.name, input.value);
    }
    return query.size > 0 ? `${filled}?${query}` : filled;
  };
  const describe = () => {
    const names = [...(files?.files ?? [])].map(({ name }) => `-F image=@${quoted(name)} `);
    const sends = files ? names.join('') || '-F image=@image.jpg ' : '';
    const token = authorization().authorization ? "-H 'Authorization: Bearer TOKEN' " : '';
    command.textContent = `curl ${token}${sends}${quoted(location.origin + target())}`;
  };
  const form = h(
    'form',
    { class: 'try' },
    ...fields.map(({ parameter, input }) =>
      h(
        'div',
        { class: 'field' },
        h('label', { for: input.id }, parameter.name),
        input,
        h('span', { class: 'soft' }, parameter.description),
      ),
    ),
    files && h('div', { class: 'field' }, h('label', { for: files.id }, 'images'), files),
    h('button', { class: 'primary' }, 'Send'),
    command,
    status,
    response,
  );
  form.addEventListener('input', describe);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    status.textContent = 'Waiting…';
    try {
      const body = files ? new FormData() : undefined;
      for (const file of files?.files ?? []) body?.append('image', file, file.name);
      const begin = performance.now();
      const answer = await fetch(target(), {
        method: method.toUpperCase(),
        headers: authorization(),
        ...(body && { body }),
      });
      const type = answer.headers.get('content-type') ?? '';
      const text = type.startsWith('image/') ? `(${type})` : await answer.text();
      status.textContent = `${answer.status} ${answer.statusText} in ${Math.round(performance.now() - begin)} ms`;
      response.textContent = readable(text, type).slice(0, shownLetters);
      response.hidden = false;
    } catch {
      status.textContent = 'The server does not respond.';
    }
  });
  describe();
  return h(
    'details',
    {},
    h(
      'summary',
      {},
      h('span', { class: `method ${method}` }, method.toUpperCase()),
      h('code', {}, path),
      h('span', { class: 'soft' }, operation.summary),
    ),
    operation.description !== undefined && h('p', {}, operation.description),
    form,
    h(
      'ul',
      { class: 'responses' },
      ...Object.entries(operation.responses).map(([code, { description }]) =>
        h('li', {}, h('code', {}, code), ` ${description}`),
      ),
    ),
  );
}

function readable(text: string, type: string): string {
  return type.startsWith('application/json') ? JSON.stringify(JSON.parse(text), undefined, 2) : text;
}

/** A word of a shell. */
function quoted(text: string): string {
  return /^[\w@./:=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

const description: Description = await (await fetch('/openapi.json')).json();
byId('p', 'about').textContent = `${description.info.description} Version ${description.info.version}.`;
byId('div', 'operations').replaceChildren(
  ...Object.entries(description.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => operationForm(method, path, operation)),
  ),
);

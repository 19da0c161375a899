type Child = Node | string | undefined | false;

/**
 * Makes an element.
 *
 * @param attributes set as they are; `--` custom properties go into its style, which the page's policy allows scripts
 */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string | number | boolean | undefined>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (name.startsWith('--')) element.style.setProperty(name, String(value));
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  for (const child of children) if (child !== undefined && child !== false) element.append(child);
  return element;
}

/** An element of the page that is always there. */
export function byId<K extends keyof HTMLElementTagNameMap>(tag: K, id: string): HTMLElementTagNameMap[K] {
  const element = document.getElementById(id);
  if (element?.localName !== tag) throw new Error(`the page has no ${tag} #${id}`);
  return element as HTMLElementTagNameMap[K];
}

/** A probability for a person. */
export function percent(probability: number): string {
  const value = 100 * probability;
  if (value > 0 && value < 0.05) return '<0.1%';
  return `${value.toFixed(value >= 99.95 || value === 0 ? 0 : 1)}%`;
}

/** A number with its thousands apart. */
export const count = (value: number) => value.toLocaleString('en');

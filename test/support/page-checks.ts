import axe from 'axe-core';
import type { Page } from 'playwright-core';

/** A file as a person has it under the pointer. */
export interface PageFile {
  readonly name: string;
  readonly type: string;
  readonly bytes: Buffer;
}

/** A script that makes `transfer` of a file, as the browser does when a person drops or pastes one. */
export const transferOf = ({ name, type, bytes }: PageFile) => `
  const bytes = Uint8Array.from(atob('${bytes.toString('base64')}'), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], '${name}', { type: '${type}' }));`;

/** Drops a file on an element, by its id. */
export async function dropOn(page: Page, id: string, file: PageFile): Promise<void> {
  await page.evaluate(`{ ${transferOf(file)}
    for (const kind of ['dragenter', 'dragover', 'drop']) document.getElementById('${id}').dispatchEvent(
      new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true })); }`);
}

/** What axe finds wrong, in the page's own world, which its policy leaves to tools of the browser. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const found = await page.evaluate('axe.run(document)');
  const { violations } = found as { violations: { id: string; nodes: { html: string }[] }[] };
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
}

/** By how many pixels a page is wider than its window. */
export const overflow = (page: Page) =>
  page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');

import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { KdSpecError } from '../core/errors.js';
import type { JsonObject } from '../core/json.js';
import type { Log } from '../core/log.js';
import { type Answer, loadEnsemble, type RankedClass } from '../ensemble/ensemble.js';
import type { Settings } from '../pipeline/options.js';
import { alignColumns } from './summary.js';

const imageNames = /\.(png|jpe?g|webp)$/i;
const spokenClasses = 3; // that the text names of each specialist

/**
 * Answers for images with the generalist and the ensemble of a workspace.
 *
 * @param images files, folders, or `-` for standard input
 * @param options.top classes an answer names
 * @returns the same answers as JSON and as text for a person
 * @throws KdSpecError `not-found`, `image-empty`, `image-unreadable`, `image-too-large`, `interrupted`
 */
export async function inferImages(
  images: readonly string[],
  {
    top,
    settings,
    signal,
  }: { readonly top: number; readonly settings: Settings; readonly log: Log; readonly signal: AbortSignal },
): Promise<{ readonly json: JsonObject; readonly text: string }> {
  const paths = (await Promise.all(images.map(expand))).flat();
  const ensemble = await loadEnsemble(settings.workspace, { backend: settings.backend });
  const answers: { path: string; answer: Answer }[] = [];
  try {
    for (const path of paths) {
      if (signal.aborted) throw new KdSpecError('interrupted', `stopped after ${answers.length} images`);
      const [answer] = await ensemble.classify([path === '-' ? await buffer(process.stdin) : path], { top });
      answers.push({ path, answer });
    }
  } finally {
    ensemble.dispose();
  }
  return {
    json: { images: answers.map(({ path, answer }) => ({ path, ...toJson(answer) })) },
    text: answers.map(({ path, answer }) => describe(path, answer)).join('\n\n'),
  };
}

/** The images in a folder, by name; a file is itself. */
async function expand(path: string): Promise<string[]> {
  if (path === '-' || !(await stat(path).catch(() => undefined))?.isDirectory()) return [path];
  const names = await readdir(path, { recursive: true });
  const images = names.filter((name) => imageNames.test(name)).sort();
  if (images.length === 0) throw new KdSpecError('not-found', `${path} holds no PNG, JPEG or WebP file`);
  return images.map((name) => join(path, name));
}

function toJson({ generalist, ensemble, specialists }: Answer): JsonObject {
  const ranked = (classes: readonly RankedClass[]) => classes.map((item) => ({ ...item }));
  return {
    generalist: ranked(generalist),
    ensemble: ranked(ensemble),
    specialists: specialists.map(({ id, dustbin, top }) => ({ id, dustbin, top: ranked(top) })),
  };
}

function describe(path: string, { generalist, ensemble, specialists }: Answer): string {
  const named = (item: RankedClass | undefined) =>
    item ? `${item.class}  ${percent(item.probability)}` : '';
  const table = alignColumns([
    ['', 'generalist', 'ensemble'],
    ...ensemble.map((_, rank) => [String(rank + 1), named(generalist[rank]), named(ensemble[rank])]),
  ]);
  const said = specialists.map(({ id, dustbin, top }) => {
    const classes = top.slice(0, spokenClasses).map(named).join(', ');
    return `specialist ${id}: ${classes}; none of its classes ${percent(dustbin)}`;
  });
  return [path, table, ...(said.length > 0 ? said : ['no specialist was asked'])].join('\n');
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}

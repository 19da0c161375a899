import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

const iconSetSchema = z.object({
  prefix: z.string(),
  info: z.object({
    author: z.object({ name: z.string() }),
    license: z.object({ title: z.string(), spdx: z.string().optional() }),
    category: z.string().optional(),
  }),
  icons: z.record(
    z.string(),
    z.object({
      body: z.string(),
      width: z.number().optional(),
      height: z.number().optional(),
      left: z.number().optional(),
      top: z.number().optional(),
      hidden: z.boolean().optional(),
    }),
  ),
  width: z.number().optional(),
  height: z.number().optional(),
});

/** A set of icons as the npm package `@iconify/json` has it. */
export type IconSet = z.infer<typeof iconSetSchema>;

/** Licences under which a folder of rendered drawings may be used for anything. */
const refusedLicences = /GPL|NC|SA/;

/** The sets of an unpacked package whose licence allows to use their drawings for anything, by name. */
export async function* iconSets(packageFolder: string): AsyncGenerator<IconSet> {
  const directory = join(packageFolder, 'json');
  for (const name of (await readdir(directory)).sort()) {
    const set = iconSetSchema.parse(JSON.parse(await readFile(join(directory, name), 'utf8')));
    if (!refusedLicences.test(set.info.license.spdx ?? set.info.license.title)) yield set;
  }
}

/** An icon as a file of its own, black where the set leaves the colour open, `pixels` wide and high. */
export function svgOf(set: IconSet, name: string, pixels: number): string {
  const icon = set.icons[name];
  const width = icon.width ?? set.width ?? 16;
  const height = icon.height ?? set.height ?? 16;
  const box = [icon.left ?? 0, icon.top ?? 0, width, height].join(' ');
  const body = icon.body.replaceAll('currentColor', '#000');
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="${box}" width="${pixels}" height="${pixels}">${body}</svg>`;
}

import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { findManifest, verifyArtefact } from '../../src/core/artefact.js';
import { renderReportPage } from '../../src/evaluation/report-page.js';

/**
 * Compares two workspaces: every file byte for byte, except what says when and how long.
 *
 * In JSON the members whose names end in `seconds` or `second`, `startedAt`, `finishedAt`, `modifiedMs` and
 * `doneBefore` are left out. What follows from them is checked within each workspace instead: a manifest's hashes
 * against its files, its inputs against the digests of the artefacts they name, and the report's page against the page
 * that its JSON makes.
 *
 * @returns a sentence for each difference
 */
export async function compareWorkspaces(actual: string, expected: string): Promise<readonly string[]> {
  const [files, expectedFiles] = await Promise.all([filesOf(actual), filesOf(expected)]);
  const differences = [
    ...files.filter((path) => !expectedFiles.includes(path)).map((path) => `${path} is too much`),
    ...expectedFiles.filter((path) => !files.includes(path)).map((path) => `${path} is missing`),
  ];
  for (const path of files.filter((path) => expectedFiles.includes(path))) {
    const [a, b] = await Promise.all([actual, expected].map((folder) => essence(folder, path)));
    if (!a.equals(b)) differences.push(`${path} differs`);
  }
  return [...differences, ...(await inconsistencies(actual))];
}

/** What is wrong with the artefacts that stand in a workspace, finished or not. */
export async function inconsistencies(workspace: string): Promise<readonly string[]> {
  const found: string[] = [];
  for (const folder of await artefactsIn(workspace)) {
    try {
      await verifyArtefact(folder);
    } catch (error) {
      found.push(String(error));
    }
  }
  return found;
}

/** Folders with a manifest: stages, and specialists of a finished or unfinished stage. */
export async function artefactsIn(workspace: string): Promise<readonly string[]> {
  const groups = [workspace, join(workspace, 'specialists'), join(workspace, '.partial', 'specialists')];
  const folders: string[] = [];
  for (const group of groups) {
    const names = await readdir(group).catch(() => []);
    folders.push(...names.map((name) => join(group, name)));
  }
  return folders.filter((folder) => existsSync(join(folder, 'manifest.json')));
}

async function filesOf(workspace: string): Promise<readonly string[]> {
  const entries = await readdir(workspace, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(workspace.length + 1))
    .sort();
}

async function essence(workspace: string, path: string): Promise<Buffer> {
  const content = await readFile(join(workspace, path));
  const name = basename(path);
  if (name === 'manifest.json')
    return Buffer.from(await essenceOfManifest(workspace, JSON.parse(content.toString())));
  if (name === 'index.html') {
    const parts = ['report.json', 'details.json'].map((part) => join(workspace, path, '..', part));
    const [report, details] = await Promise.all(parts.map((part) => readFile(part, 'utf8')));
    return Buffer.from(
      String(renderReportPage(JSON.parse(report), JSON.parse(details)) === content.toString()),
    );
  }
  if (name.endsWith('.json')) return Buffer.from(timeless(JSON.parse(content.toString())));
  if (name.endsWith('.jsonl')) {
    const lines = content.toString().trimEnd().split('\n');
    return Buffer.from(lines.map((line) => timeless(JSON.parse(line))).join('\n'));
  }
  return content;
}

interface RawManifest {
  readonly inputs: Readonly<Record<string, string>>;
  readonly files: readonly { readonly path: string }[];
}

/** Hashes are left out, since some are of files with times in them; {@link inconsistencies} checks them. */
async function essenceOfManifest(workspace: string, manifest: RawManifest): Promise<string> {
  const inputs: Record<string, string> = {};
  for (const [name, digest] of Object.entries(manifest.inputs)) {
    const artefact = await findManifest(join(workspace, name));
    inputs[name] = artefact === undefined ? digest : artefact.digest === digest ? 'the one here' : 'another';
  }
  const files = manifest.files.map(({ path }) => path);
  return timeless({ ...manifest, inputs, files, digest: '' });
}

function timeless(value: unknown): string {
  return JSON.stringify(value, (key, member) =>
    /seconds?$|^(startedAt|finishedAt|modifiedMs|doneBefore|digest)$/i.test(key) ? undefined : member,
  );
}

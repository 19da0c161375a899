import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { jsonOf, kdSpec } from '../fixtures/command-line.js';
import { commands, copyOfTiny, tinyFolder } from '../fixtures/tiny-workspace.js';

test('one command after the other makes what a run makes', async () => {
  const given = ['dataset', 'generalist'];
  const made = commands.map(([, stage]) => stage).filter((stage) => !given.includes(stage));
  const own = await copyOfTiny({ without: made });
  try {
    for (const [command, stage] of commands) {
      const { artefact } = jsonOf(await kdSpec([command, '--json'], { folder: own }));
      expect(artefact).toMatchObject({
        stage,
        status: given.includes(stage) ? 'up-to-date' : 'made',
      });
    }
    for (const file of [
      'predictions/data-00000-of-00001.arrow',
      'subsets/subsets.json',
      'subsets/affinity.safetensors',
      'specialists/0/model.safetensors',
      'specialists/2/config.json',
      'ensemble/ensemble.json',
    ]) {
      expect(await readFile(join(own, 'kd-workspace', file)), file).toEqual(
        await readFile(join(tinyFolder(), 'kd-workspace', file)),
      );
    }
  } finally {
    await rm(own, { recursive: true, force: true });
  }
});

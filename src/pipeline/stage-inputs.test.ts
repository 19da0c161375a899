import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { resolveSettings } from './settings.js';
import { outsideInputs } from './stage-inputs.js';
import { stages } from './stages/index.js';

test('a transfer set counts as all files under its folder, at any depth', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kd-spec-inputs-'));
  const answers = stages.find(({ name }) => name === 'answers');
  if (!answers) throw new Error('no stage answers');
  const { settings } = await resolveSettings({ teacher: 'generalist', transfer: folder }, {}, { folder });
  const digest = async () => (await outsideInputs(answers, settings))['answers.transfer'];
  try {
    await mkdir(join(folder, 'one', 'deep'), { recursive: true });
    await writeFile(join(folder, 'one', 'deep', 'a.png'), 'a');
    const first = await digest();
    expect(await digest()).toBe(first);
    await writeFile(join(folder, 'one', 'deep', 'a.png'), 'changed');
    const changed = await digest();
    expect(changed).not.toBe(first);
    await writeFile(join(folder, 'one', 'b.png'), 'b');
    expect(await digest()).not.toBe(changed);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('what is neither a file nor a folder is refused as that', async () => {
  const [dataset] = stages;
  const { settings } = await resolveSettings(
    { onnx: '/dev/null', source: 'photos' },
    {},
    { folder: tmpdir() },
  );
  await expect(outsideInputs(dataset, settings)).rejects.toMatchObject({
    code: 'not-readable',
    message: '/dev/null: expected a regular file, found a device',
  });
});

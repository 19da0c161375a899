import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { hashFile } from '../../src/core/file-hashes.js';
import { packageFolder } from '../../src/core/package.js';
import { createRandom } from '../../src/core/random.js';
import { jsonOf, kdSpec, schemaOf, startKdSpec } from '../fixtures/command-line.js';
import { copyOfTiny } from '../fixtures/tiny-workspace.js';

const patienceMs = 240_000;

/** Four colours, as noisy pictures in folders: `photos/<class>/<number>.png`. */
async function writePhotos(folder: string): Promise<void> {
  const colours = { red: [200, 40, 40], orange: [200, 120, 40], green: [40, 160, 60], blue: [40, 70, 200] };
  for (const [name, colour] of Object.entries(colours)) {
    await mkdir(join(folder, 'photos', name), { recursive: true });
    for (let index = 0; index < 30; index++) {
      const random = createRandom(name, index);
      const pixels = Uint8Array.from(
        { length: 16 * 16 * 3 },
        (_, at) => colour[at % 3] + random.below(56) - 28,
      );
      await sharp(pixels, { raw: { width: 16, height: 16, channels: 3 } })
        .png()
        .toFile(join(folder, 'photos', name, `${index}.png`));
    }
  }
}

test("the README's example: a user's own folder of images, distilled by one command", {
  timeout: patienceMs,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kd-spec-photos-'));
  try {
    await writePhotos(folder);
    await cp(join(folder, 'photos', 'green', '0.png'), join(folder, 'x.jpg'));
    const readme = await readFile(join(packageFolder(), 'README.md'), 'utf8');
    const [block] = readme.match(/```sh\nkd-spec distill[^`]*```/) ?? [];
    const commands = block?.split('\n').filter((line) => line.startsWith('kd-spec ')) ?? [];
    expect(commands).toHaveLength(2);
    const outputs = [];
    // Colours are learnt in a few epochs by a small network, from small images.
    const env = {
      KD_SPEC_BACKEND: 'wasm',
      KD_SPEC_QUIET: 'true',
      KD_SPEC_EPOCHS: '8',
      KD_SPEC_IMAGE_SIZE: '8',
      KD_SPEC_CONVOLUTIONS: '8',
      KD_SPEC_DENSE: '32',
    };
    for (const command of commands)
      outputs.push(
        jsonOf(
          await kdSpec([...command.split(' ').slice(1), '--json'], {
            folder,
            env,
          }),
        ),
      );
    const [student, answers] = outputs;
    expect((await schemaOf('distill')).parse(student)).toEqual(student);
    expect(student.sweep.map(({ temperature }: { temperature: number }) => temperature)).toEqual([1, 2, 4]);
    expect(student.test.top1).toBeGreaterThan(0.8);
    const page = await readFile(join(folder, 'kd-workspace', 'student', 'index.html'), 'utf8');
    expect(page).toContain('Accuracy over the temperature');
    expect(page).not.toMatch(/(src|href)=/);
    expect((await schemaOf('infer')).parse(answers)).toEqual(answers);
    expect(answers.images[0].student[0].class).toBe('green');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('a sweep that is stopped goes on, and ends with the very student of one that was not', {
  timeout: patienceMs,
}, async () => {
  const words = [
    'distill',
    '--teacher',
    'generalist',
    '--temperature',
    '1,4',
    '--student-epochs',
    '25',
    '--backend',
    'wasm',
  ];
  const [whole, stopped] = [await copyOfTiny(), await copyOfTiny()];
  try {
    expect((await kdSpec(words, { folder: whole })).code).toBe(0);
    const { child, finished } = startKdSpec(words, { folder: stopped });
    let output = '';
    let isSignalled = false; // a second signal would end it at once
    child.stderr?.on('data', (chunk) => {
      output += chunk;
      if (isSignalled || !/student at T = 1: done/.test(output)) return;
      isSignalled = true;
      setTimeout(() => child.kill('SIGTERM'), 200); // the second student is under way
    });
    const { code } = await finished;
    expect(code).toBe(75);
    const resumed = await kdSpec(words, { folder: stopped });
    expect(resumed.stderr).toMatch(/going on with what was interrupted/);
    expect(resumed.stderr).not.toMatch(/student at T = 1: done/);
    const [a, b] = [whole, stopped].map((folder) =>
      join(folder, 'kd-workspace', 'student', 'model.safetensors'),
    );
    expect(await hashFile(b)).toBe(await hashFile(a));
  } finally {
    for (const folder of [whole, stopped]) await rm(folder, { recursive: true, force: true });
  }
});

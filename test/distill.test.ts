import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRandom } from '../src/core/random.js';
import { jsonOf, kdSpec, schemaOf } from './fixtures/command-line.js';
import { copyOfTiny } from './fixtures/tiny-workspace.js';

const patienceMs = 240_000;

describe('in a workspace', { timeout: patienceMs }, () => {
  let folder: string;
  beforeAll(async () => {
    folder = await copyOfTiny();
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const fixed = ['--quiet', '--backend', 'wasm'];
  const distill = async (...words: readonly string[]) =>
    jsonOf(await kdSpec(['distill', '--json', ...fixed, ...words], { folder }));
  const fails = async (...words: readonly string[]) => {
    const { code, stderr } = await kdSpec(['distill', ...fixed, ...words], { folder });
    expect(code).not.toBe(0);
    return stderr;
  };
  const place = (...parts: readonly string[]) => join(folder, 'kd-workspace', ...parts);

  test('several teachers become one by either mean, and a checkpoint is a teacher', async () => {
    await cp(place('generalist'), join(folder, 'other'), { recursive: true });
    const teachers = ['--teacher', 'ensemble', '--teacher', 'other', '--student-epochs', '1'];
    const arithmetic = await distill(...teachers, '--mean', 'arithmetic');
    expect(arithmetic.teacher.teacher).toMatch(/arithmetic mean of the ensemble, .*other/);
    const geometric = await distill(...teachers, '--mean', 'geometric');
    expect(geometric.teacher.teacher).toMatch(/geometric mean/);
    expect(geometric.sweep[0].loss).not.toBe(arithmetic.sweep[0].loss);
  });

  test('stored predictions teach what the network that made them teaches', async () => {
    await kdSpec(['predict', '--predict-split', 'train', '--max-top', '60', '--prediction-mass', '1'], {
      folder,
    });
    await cp(place('predictions'), join(folder, 'stored'), { recursive: true });
    await rm(place('predictions'), { recursive: true });
    const settings = ['--temperature', '1', '--student-epochs', '1'];
    const stored = await distill('--teacher', 'stored', ...settings);
    const live = await distill('--teacher', 'generalist', ...settings);
    expect(stored.sweep[0].loss).toBeCloseTo(live.sweep[0].loss, 3);
    expect(stored.teacher.test).toBeUndefined();
    expect(await fails('--teacher', 'stored', '--transfer-views', '2')).toMatch(
      /stored predictions .* are of the images as they are/,
    );
  });

  test("a student's file, fewer stored classes, logits, and what does not fit", async () => {
    await writeFile(join(folder, 'student.yaml'), 'network:\n  convolutions: []\n  dense: [24]\nepochs: 1\n');
    const settings = ['--teacher', 'generalist', '--student', 'student.yaml'];
    const sparse = await distill(...settings, '--answers-top', '5');
    expect(sparse.parameters).toBe(16 * 16 * 24 + 4 * 24 + 24 * 60 + 60);
    expect(sparse.teacher.top).toBe(5);
    expect(sparse.teacher.keptMass).toBeLessThan(1);
    expect(await fails(...settings, '--answers-top', '5', '--objective', 'logits')).toMatch(
      /all 60 classes, but 5/,
    );
    const logits = await distill(...settings, '--answers-top', 'none', '--objective', 'logits');
    expect(logits.sweep).toHaveLength(1);
    expect(logits.teacher.generalist.test).toEqual(logits.teacher.test);
    expect(await fails(...settings, '--answers-top', '5', '--objective', 'standardised')).toMatch(
      /all 60 classes, but 5/,
    );
    const standardised = ['--answers-top', 'none', '--objective', 'standardised', '--temperature', '1,2'];
    expect((await distill(...settings, ...standardised)).sweep).toHaveLength(2);
    const decoupled = ['--answers-top', '5', '--objective', 'decoupled', '--other-weight', '2'];
    expect((await distill(...settings, ...decoupled, '--temperature', '2')).sweep[0].loss).toBeGreaterThan(0);
    await writeFile(join(folder, 'student.yaml'), 'network:\n  dens: [24]\n');
    expect(await fails(...settings)).toMatch(/student.yaml:2: unknown key "student.network.dens"/);
    expect(await fails('--student', 'none', '--teacher', 'nowhere')).toMatch(/nowhere: it does not exist/);
  });

  test('images without labels are a transfer set', async () => {
    await mkdir(join(folder, 'loose'));
    for (let index = 0; index < 40; index++) {
      const random = createRandom('loose', index);
      const pixels = Uint8Array.from({ length: 400 }, () => random.below(256));
      await sharp(pixels, { raw: { width: 20, height: 20, channels: 1 } })
        .png()
        .toFile(join(folder, 'loose', `${index}.png`));
    }
    const settings = [
      '--student',
      'none',
      '--teacher',
      'generalist',
      '--transfer',
      'loose',
      '--student-epochs',
      '2',
    ];
    const student = await distill(...settings, '--objective', 'soft-targets');
    expect(student.transferImages).toBe(40);
    expect(student.bias).toBeUndefined();
    expect(await fails(...settings, '--transfer-without', '3')).toMatch(/choose by labels/);
    const byLabels = ['--objective', 'labels', '--transfer-without', 'none'];
    expect(await fails(...settings, ...byLabels)).toMatch(/have no labels/);
  });

  test('a class that the student never saw gets a bias, fitted on validation, and the artefact says so', async () => {
    const settings = [
      '--student',
      'none',
      '--transfer',
      'none',
      '--teacher',
      'generalist',
      '--student-epochs',
      '4',
    ];
    const words = [...settings, '--objective', 'soft-targets', '--transfer-without', '3,4'];
    const { bias, validation, transferImages } = await distill(...words, '--bias-correction', 'test-too');
    expect(transferImages).toBeLessThan(1200);
    expect(bias.classes).toEqual([3, 4]);
    expect(bias.fittedOn).toBe('validation');
    expect(bias.validation.after).toEqual(validation);
    expect(bias.validation.after.errors).toBeLessThanOrEqual(bias.validation.before.errors);
    expect(bias.testTuned.test.errors).toBeLessThanOrEqual(bias.test.before.errors);
    expect(JSON.parse(await readFile(place('student', 'bias.json'), 'utf8'))).toEqual(bias);
  });

  test('evaluate shows the student beside the ensemble', async () => {
    const report = jsonOf(await kdSpec(['evaluate', '--with-student', '--json', '--quiet'], { folder }));
    expect(report.student.top1).toBeGreaterThanOrEqual(0);
    expect((await schemaOf('evaluate')).parse(report)).toEqual(report);
    expect(await readFile(place('report', 'index.html'), 'utf8')).toContain('Student');

    const words = ['export', '--model', 'student', '--format', 'hf', '--out', 'hub', '--quiet', '--json'];
    jsonOf(await kdSpec(words, { folder }));
    const card = await readFile(join(folder, 'hub', 'README.md'), 'utf8');
    expect(card).toContain(`top-1 ${(100 * report.student.top1).toFixed(1)}%`); // its own figure, not the ensemble's
  });
});

test('beside another teacher, or none, a student is judged by the generalist of the report', async () => {
  const folder = await copyOfTiny(); // which remembers the objective
  const words = [
    'distill',
    '--objective',
    'labels',
    '--student-epochs',
    '1',
    '--student-learning-rate',
    '1e-6',
  ];
  const { stdout } = await kdSpec([...words, '--quiet', '--backend', 'wasm'], { folder });
  expect(stdout).toMatch(/beside it, on test +top-1\n(.*\n)+\nThe student is worse than the generalist by/);
  await rm(folder, { recursive: true, force: true });
});

/**
 * The accuracy of a sampled softmax against the full one, on the synthetic benchmark with 15,000 classes.
 *
 *     npm run build && npx tsx scripts/results/sampled-head.ts [--sampled 2048,4096] [--images-per-class 8] [--epochs 3]
 *
 * Trains a generalist that is wide enough to profit from its head with each of them, on the same images, and
 * prints top-1 on validation and the seconds of training as JSON.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values: flags } = parseArgs({
  options: {
    sampled: { type: 'string', default: '2048,4096' },
    'images-per-class': { type: 'string', default: '8' },
    epochs: { type: 'string', default: '3' },
    backend: { type: 'string', default: 'auto' },
  },
});
const classes = 15_000;
const network = ['--convolutions', '24,48', '--dense', '128'];
const heads = ['none', ...flags.sampled.split(',')];

function kdSpec(workspace: string, ...words: string[]): Record<string, never> {
  const settings = ['--workspace', workspace, '--backend', flags.backend, '--json', '--quiet'];
  const data = ['--classes', String(classes), '--images-per-class', flags['images-per-class']];
  const command = ['dist/cli/main.js', ...words, ...data, ...settings];
  return JSON.parse(execFileSync(process.execPath, command, { encoding: 'utf8' }));
}

const folder = mkdtempSync(join(tmpdir(), 'kd-spec-sampled-'));
try {
  const base = join(folder, 'base');
  kdSpec(base, 'dataset');
  const results = heads.map((head) => {
    const workspace = join(folder, head);
    cpSync(base, workspace, { recursive: true });
    const options = [
      ...network,
      ...['--epochs', flags.epochs, '--patience', 'none', '--schedule', 'cosine', '--batch-size', '128'],
      ...(head === 'none' ? [] : ['--sampled-head', head]),
    ];
    const { trainingSeconds, loss } = kdSpec(workspace, 'train-generalist', ...options);
    const { top1, rows } = kdSpec(workspace, 'predict', ...options);
    rmSync(workspace, { recursive: true, force: true });
    return { sampled: head === 'none' ? null : Number(head), top1, examples: rows, loss, trainingSeconds };
  });
  console.log(
    JSON.stringify({ classes, imagesPerClass: Number(flags['images-per-class']), results }, null, 2),
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}

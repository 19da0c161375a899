import { rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { jsonOf, kdSpec } from './fixtures/command-line.js';
import { copyOfTiny } from './fixtures/tiny-workspace.js';

test('train-specialists ends with what the evaluation finds on the same images for the same specialists', async () => {
  const folder = await copyOfTiny({ without: ['ensemble', 'report'] });
  try {
    const trained = await kdSpec(['train-specialists'], { folder });
    expect(trained.stdout).toContain('within the classes of a specialist');
    const { validation } = jsonOf(await kdSpec(['train-specialists', '--json'], { folder }));
    const words = ['evaluate', '--evaluate-split', 'validation', '--select=false', '--json', '--quiet'];
    const { conditional } = jsonOf(await kdSpec(words, { folder }));
    expect(validation).toMatchObject({ examples: conditional.examples, pairs: conditional.pairs });
    for (const who of ['generalist', 'specialists'])
      expect(validation[who].top1, who).toBeCloseTo(conditional[who].top1, 6);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

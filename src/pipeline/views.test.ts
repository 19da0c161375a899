import { expect, test } from 'vitest';
import { resolveSettings } from './settings.js';
import { viewsOf, viewsOfDataset } from './views.js';

/** In a folder without a workspace, whose pipeline would be in force. */
async function settingsOf(flags: Readonly<Record<string, string>>) {
  return (await resolveSettings(flags, {}, { folder: import.meta.dirname })).settings;
}

test('an imported model sees as many views as 12,000 images allow, from 1 to 4', async () => {
  const imported = await settingsOf({ onnx: 'model.onnx', source: 'photos' });
  const seen = [0, 100, 3000, 3001, 4000, 6000, 6001, 12_000, 1_000_000].map((images) =>
    viewsOf(imported, images),
  );
  expect(seen).toEqual([4, 4, 4, 3, 3, 2, 1, 1, 1]);
});

test('a generalist of our own sees four views of however many images', async () => {
  const own = await settingsOf({ source: 'photos' });
  expect(viewsOf(own, 1_000_000)).toBe(4);
});

test('what is asked for is taken, but images that no augmentation changes are seen once', async () => {
  const settings = await settingsOf({ onnx: 'model.onnx', source: 'photos', views: '7' });
  expect(viewsOf(settings, 1_000_000)).toBe(7);
  const rows = { rows: 5000 } as never;
  const dataset = (augmentation: object) =>
    ({ augmentation, splits: { train: rows } }) as unknown as Parameters<typeof viewsOfDataset>[1];
  const bystanders = { teach: { rows: 6000 } } as never;
  expect(viewsOfDataset(settings, dataset({ kind: 'none' }), bystanders)).toBe(1);
  expect(viewsOfDataset(settings, dataset({ kind: 'shift' }), bystanders)).toBe(7);
  const usual = await settingsOf({ onnx: 'model.onnx', source: 'photos' });
  expect(viewsOfDataset(usual, dataset({ kind: 'shift' }), undefined)).toBe(2);
  expect(viewsOfDataset(usual, dataset({ kind: 'shift' }), bystanders)).toBe(1);
  expect(viewsOfDataset(usual, dataset({ kind: 'shift' }), undefined, 3)).toBe(3);
});

import { expect, test } from 'vitest';
import { drawImage } from './draw-image.js';

const grey = (rows: readonly string[], ink: number, paper: number) =>
  [
    Uint8Array.from([...rows.join('')].map((pixel) => (pixel === '#' ? ink : paper))),
    { height: rows.length, width: rows[0].length, channels: 1 as const },
  ] as const;
const cross = ['.....', '..#..', '.###.', '..#..', '.....'];

test('what is written is drawn, be it dark on bright or bright on dark', () => {
  for (const [ink, paper] of [
    [0, 255],
    [200, 20],
  ]) {
    expect(drawImage(...grey(cross, ink, paper))).toEqual(['  ▄  ', ' ▀█▀ ', '     ']);
  }
});

test('in colour every pixel has its own, and the last odd row no lower half', () => {
  const start = '\u001b';
  expect(drawImage(...grey(['#.', '.#', '##'], 0, 255), { color: true })).toEqual([
    `${start}[38;5;16m${start}[48;5;231m▀${start}[38;5;231m${start}[48;5;16m▀${start}[0m`,
    `${start}[38;5;16m▀${start}[38;5;16m▀${start}[0m`,
  ]);
  const pixels = Uint8Array.of(255, 0, 0, 128, 128, 128);
  const [line] = drawImage(pixels, { height: 1, width: 2, channels: 3 }, { color: true });
  expect([...line.matchAll(/38;5;(\d+)/g)].map(([, colour]) => Number(colour))).toEqual([196, 244]);
});

test('a large image is averaged to the columns that there are', () => {
  const wide = grey(
    Array.from({ length: 8 }, () => '####....'),
    0,
    255,
  );
  const lines = drawImage(...wide, { columns: 4 });
  expect(lines).toEqual(['██  ', '██  ']);
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { classNames, classTree } from './class-tree.js';
import { defaultDifficulty } from './difficulty.js';

test('genera are ranges that hold every class once, families together', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 3000 }), (classes) => {
      const tree = classTree(classes, defaultDifficulty);
      let next = 0;
      let family = 0;
      for (const [index, genus] of tree.genera.entries()) {
        expect(genus.start).toBe(next);
        expect(genus.end).toBeGreaterThan(genus.start);
        expect([family, family + 1]).toContain(genus.family);
        expect(tree.genusOf.subarray(genus.start, genus.end).every((value) => value === index)).toBe(true);
        next = genus.end;
        family = genus.family;
      }
      expect(next).toBe(classes);
      expect(family).toBe(tree.families - 1);
    }),
    { numRuns: 15 },
  );
});

test('a few families are huge and most are small', () => {
  const tree = classTree(15_000, defaultDifficulty);
  const sizes = new Int32Array(tree.families);
  for (const genus of tree.genera) sizes[genus.family] += genus.end - genus.start;
  const sorted = [...sizes].sort((a, b) => b - a);
  expect(sorted[0]).toBeGreaterThan(1500);
  expect(sorted[Math.floor(sorted.length / 2)]).toBeLessThan(150);
  expect(sorted.at(-1)).toBeLessThan(60);
});

test('names are distinct, sort as classes do, and show two or three levels', () => {
  const tree = classTree(300, defaultDifficulty);
  const names = classNames(tree);
  expect(new Set(names).size).toBe(300);
  expect([...names].sort()).toEqual([...names]);
  expect(names[0]).toBe('f00/g0/c000');
  expect(names.at(-1)).toBe('f19/c299');
});

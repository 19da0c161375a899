import { expect, test } from 'vitest';
import { z } from 'zod';
import { schemaProblem } from './schema-problem.js';

const problemOf = (schema: z.ZodType, value: unknown) => {
  const { error } = schema.safeParse(value);
  return error && schemaProblem(value, error);
};

test.each([
  [z.number(), 'x', 'expected a number, found "x"'],
  [z.number().positive(), 0, 'expected a number above 0, found 0'],
  [z.number().min(2), 1, 'expected a number of 2 or more, found 1'],
  [z.number().max(2), 3, 'expected a number of at most 2, found 3'],
  [z.number().lt(2), 2, 'expected a number below 2, found 2'],
  [z.int(), 0.5, 'expected a whole number, found 0.5'],
  [z.string().min(1), '', 'expected a text of 1 or more characters, found ""'],
  [z.array(z.int()).min(1), [], 'expected a list of 1 or more, found an empty list'],
  [z.array(z.int()).max(1), [1, 2], 'expected a list of at most 1, found a list'],
  [z.null(), 1, 'expected nothing (null), found 1'],
  [z.boolean(), undefined, 'expected true or false, found nothing'],
  [z.object({ a: z.object({ b: z.string() }) }), { a: {} }, 'a.b: expected a text, found nothing'],
  [z.strictObject({ a: z.int() }), { a: 1, c: 2 }, 'unknown key "c"'],
  [
    z.strictObject({ list: z.array(z.int()) }),
    { list: [1, 0.5] },
    'list[1]: expected a whole number, found 0.5',
  ],
])('what is wrong is told in plain words: %#', (schema, value, told) => {
  expect(problemOf(schema, value)).toBe(told);
});

test('of many problems three are told, the outermost first', () => {
  const schema = z.object({ list: z.array(z.int()), name: z.string() });
  const told = problemOf(schema, { list: ['a', 'b', 'c', 'd'] });
  expect(told).toMatch(/^name: expected a text, found nothing; list\[0\]: .*; list\[1\]: .*; and 2 more$/);
});

import { z } from 'zod';

type Issue = z.core.$ZodIssue;

const told = 3; // problems: what is wrong with the first is mostly wrong with the others

/** What a schema expects, by the name that zod has for it. */
const kinds: Readonly<Record<string, string>> = {
  array: 'a list',
  boolean: 'true or false',
  int: 'a whole number',
  number: 'a number',
  object: 'an object',
  record: 'an object',
  string: 'a text',
  null: 'nothing (null)',
  tuple: 'a list',
  undefined: 'nothing',
};

/**
 * What is wrong with a value that a person wrote, in plain words: `subsets[0].classes[2]: expected a whole number, found
 * 0.5`. Of many problems, three, the outermost first.
 *
 * @param value what was checked
 * @param error what its schema said
 */
export function schemaProblem(value: unknown, { issues }: z.ZodError): string {
  const outermost = issues.toSorted((a, b) => a.path.length - b.path.length);
  const more = issues.length > told ? [`and ${issues.length - told} more`] : [];
  return [...outermost.slice(0, told).map((issue) => describe(issue, value)), ...more].join('; ');
}

function describe(issue: Issue, root: unknown): string {
  const value = issue.path.reduce<unknown>((at, key) => memberOf(at, key), root);
  const place = issue.path.length === 0 ? '' : `${z.core.toDotPath(issue.path)}: `;
  if (issue.code === 'unrecognized_keys')
    return `${place}unknown key ${issue.keys.map((key) => JSON.stringify(key)).join(', ')}`;
  const expectation = expectationOf(issue);
  return `${place}${expectation === undefined ? issue.message : `expected ${expectation}, found ${shown(value)}`}`;
}

/** What would have been right; undefined where the message of the issue says it. */
function expectationOf(issue: Issue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return kinds[issue.expected] ?? issue.expected;
    case 'too_small':
      return limitOf(issue, issue.minimum, { within: 'or more', beyond: 'above' });
    case 'too_big':
      return limitOf(issue, issue.maximum, { within: 'at most', beyond: 'below' });
    default:
      return undefined;
  }
}

/** A number, or the length of a text or of a list, on one side of a limit. */
function limitOf(
  { origin, inclusive = true }: { readonly origin: string; readonly inclusive?: boolean | undefined },
  limit: number | bigint,
  { within, beyond }: { readonly within: string; readonly beyond: string },
): string {
  const bounded = !inclusive
    ? `${beyond} ${limit}`
    : within === 'or more'
      ? `${limit} or more`
      : `${within} ${limit}`;
  if (origin === 'array' || origin === 'set') return `a list of ${bounded}`;
  return origin === 'string'
    ? `a text of ${bounded} characters`
    : `a number ${inclusive ? 'of ' : ''}${bounded}`;
}

function memberOf(value: unknown, key: PropertyKey): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  return Reflect.get(value, key);
}

function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  return typeof value === 'number' ? String(value) : JSON.stringify(value).slice(0, 60);
}

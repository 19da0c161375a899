const esc = String.fromCharCode(0x1b);

/**
 * What can move the cursor, change the title, type an answer or make a name look like another: control characters other
 * than line ends and tabs, and marks that turn the direction of writing. In front, the sequences that set colours, which
 * do no more than that.
 */
const unsafe = new RegExp(
  `(${esc}\\[[\\d;]*m)|(?![\\t\\n])[\\p{Cc}\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]`,
  'gu',
);

/**
 * Makes a text safe for a terminal, whatever names and messages of other people's files are in it.
 *
 * Characters that a terminal obeys instead of showing are written as JSON has them: `\u001b`.
 *
 * @param options.keepColours leaves sequences that set colours as they are
 *
 * @example
 * terminalText('\u001b[2J').length; // 9
 */
export function terminalText(
  text: string,
  { keepColours = false }: { readonly keepColours?: boolean } = {},
): string {
  return text.replace(unsafe, (found, sequence: string | undefined) => {
    if (sequence !== undefined && keepColours) return sequence;
    const first = `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`;
    return `${first}${found.slice(1)}`;
  });
}

/**
 * A lone `-` means standard input. yargs 18 drops it among positionals and refuses it after a flag, so it goes through
 * the parser as a word that no command line can hold: arguments have no NUL.
 */
const stand = '\0-';

/** The words of a command line, to be parsed. */
export function hideLoneDashes(words: readonly string[]): string[] {
  return words.map((word) => (word === '-' ? stand : word));
}

/** A parsed word, as it was typed. */
export function restoreLoneDash(word: string): string {
  return word === stand ? '-' : word;
}

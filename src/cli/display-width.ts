/** Scripts and signs that take two columns of a terminal: East Asian wide and full-width ones, and emoji. */
const wide =
  /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Yi}\p{Emoji_Presentation}\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]/u;
/** Marks that stand on the character before them, and characters that are not seen. */
const withoutWidth = /^[\p{Mark}\p{Format}\p{Control}]/u;

/** The columns that a text takes in a terminal, where Han characters are twice as wide as Latin letters. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    if (withoutWidth.test(character)) continue;
    width += wide.test(character) && !/^[\uff61-\uffdc]/.test(character) ? 2 : 1;
  }
  return width;
}

/** A text cut to so many columns of a terminal; an ellipsis stands for what is left out. */
export function fitWidth(text: string, columns: number): string {
  if (displayWidth(text) <= columns) return text;
  let kept = '';
  for (const character of text) {
    if (displayWidth(kept + character) > columns - 1) break;
    kept += character;
  }
  return `${kept.trimEnd()}…`;
}

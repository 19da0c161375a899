/** Whether a person sees all of a name: no control characters, and no white space around it or instead of it. */
export function isVisible(name: string): boolean {
  return name !== '' && !/[\p{Cc}\u2028\u2029]/u.test(name) && name === name.trim();
}

/**
 * A name as it is, or as its code points where a person would not see it.
 *
 * @example
 * visibleName(' '); // 'U+0020'
 */
export function visibleName(name: string): string {
  if (isVisible(name)) return name;
  const points = Array.from(
    name,
    (point) => `U+${(point.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`,
  );
  return points.join(' ') || 'U+';
}

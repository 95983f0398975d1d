// Numbers in texts that Java programs wrote or will read. Pure.

/** A Java `int` in a text, null when it is none. Mirrors `Integer.parseInt`. */
export function parseJavaInteger(text: string): number | null {
  if (!/^[+-]?\d{1,30}$/.test(text)) return null;
  const value = Number(text);
  return (value | 0) === value ? value : null;
}

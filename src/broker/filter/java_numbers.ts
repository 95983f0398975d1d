// Texts to numbers as Java's `Integer.valueOf`, `Long.valueOf` and `Double.valueOf` read them: properties are texts, and a
// filter compares them with literals of one of these types. Pure. A text that is none makes the comparison fail.

const INT_MIN = -(2 ** 31);
const INT_MAX = 2 ** 31 - 1;
const LONG_MIN = -(2n ** 63n);
const LONG_MAX = 2n ** 63n - 1n;

/** An `Integer`'s value; null when the text is none or is beyond 32 bits. */
export function parseJavaInt(text: string): number | null {
  const digits = digitsOf(text);
  if (digits === null) return null;
  // Far beyond 32 bits the number is not exact, but beyond them all the same.
  const value = Number(digits);
  return value >= INT_MIN && value <= INT_MAX ? value + 0 : null;
}

/** A `Long`'s value; null when the text is none or is beyond 64 bits. */
export function parseJavaLong(text: string): bigint | null {
  const digits = digitsOf(text);
  if (digits === null || digits.length > DIGITS_MAX) return null;
  const value = BigInt(digits);
  return value >= LONG_MIN && value <= LONG_MAX ? value : null;
}

/** A sign and leading zeros may make a long longer than its 19 digits; whoever needs more than this has no number. */
const DIGITS_MAX = 4096;

/** An optional sign and digits of any script, the digits as ASCII ones and no `+`; null when it is anything else. */
function digitsOf(text: string): string | null {
  if (/^[+-]?[0-9]+$/.test(text)) return text.charCodeAt(0) === 0x2b ? text.slice(1) : text;
  // `Character.digit` takes units of UTF-16, so digits beyond the first plane are none.
  if (!/^[+-]?[\p{Nd}]+$/u.test(text) || /[\ud800-\udfff]/.test(text)) return null;
  return text.replace(/^\+/, "").replace(/[^-0-9]/g, (digit) => String(digitValue(digit)));
}

/** In the first plane ten digits begin at a code that ends in 0 or in 6. */
function digitValue(digit: string): number {
  const code = digit.charCodeAt(0);
  return /\p{Nd}/u.test(String.fromCharCode(code & ~0xf)) ? code & 0xf : (code & 0xf) - 6;
}

const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fFdD]?$/;
const SPECIAL = /^([+-]?)(NaN|Infinity)$/;
const HEXADECIMAL = /^([+-]?)0[xX](?:([0-9a-fA-F]+)\.?|([0-9a-fA-F]*)\.([0-9a-fA-F]+))[pP]([+-]?\d+)[fFdD]?$/;

/** A `Double`'s value; null when the text is none. Blanks around it don't count. */
export function parseJavaDouble(text: string): number | null {
  const trimmed = text.replace(/^[\0-\x20]+|[\0-\x20]+$/g, "");
  if (DECIMAL.test(trimmed)) return Number(trimmed.replace(/[fFdD]$/, ""));
  const special = SPECIAL.exec(trimmed);
  if (special !== null) return special[2] === "NaN" ? NaN : special[1] === "-" ? -Infinity : Infinity;
  const hex = HEXADECIMAL.exec(trimmed);
  if (hex === null) return null;
  const [, sign, whole, front = "", fraction = "", exponent] = hex;
  const value = hexDouble(whole ?? front + fraction, Number(exponent) - 4 * fraction.length);
  return sign === "-" ? -value : value;
}

/** `digits` times 2 to the `exponent`, rounded once: half to even. */
function hexDouble(digits: string, exponent: number): number {
  const significant = digits.replace(/^0+/, "").slice(0, DIGITS_MAX);
  if (significant === "") return 0;
  const mantissa = BigInt(`0x${significant}`);
  const bits = mantissa.toString(2).length;
  // The exponent of the highest bit, and how far below it a double of that size still has bits.
  const top = bits - 1 + exponent + 4 * (digits.replace(/^0+/, "").length - significant.length);
  if (top > 1023) return Infinity;
  if (top < -1075) return 0;
  const dropped = Math.max(0, bits - (top >= -1022 ? 53 : 53 - (-1022 - top)));
  return scaled(roundedHalfEven(mantissa, dropped), top - (bits - 1) + dropped);
}

function roundedHalfEven(mantissa: bigint, dropped: number): number {
  if (dropped === 0) return Number(mantissa);
  const shift = BigInt(dropped);
  const kept = mantissa >> shift;
  const rest = mantissa - (kept << shift);
  const half = 1n << (shift - 1n);
  const up = rest > half || (rest === half && (kept & 1n) === 1n);
  return Number(up ? kept + 1n : kept);
}

/** Exact: the value has no more bits than a double of its size. Two steps, as one power may not be a double itself. */
function scaled(value: number, exponent: number): number {
  const half = Math.trunc(exponent / 2);
  return value * 2 ** half * 2 ** (exponent - half);
}

/** Order of two doubles, as `Double.compare` has it: -0.0 below 0.0, NaN above all and equal to itself. */
export function compareDoubles(a: number, b: number): number {
  if (a < b) return -1;
  if (a > b) return 1;
  if (a === b && a !== 0) return 0;
  return Object.is(a, b) ? 0 : Number.isNaN(a) ? 1 : Number.isNaN(b) ? -1 : Object.is(a, -0) ? -1 : 1;
}

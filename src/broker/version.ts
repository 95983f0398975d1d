// The version of this program, said in one place; a test holds it against package.json.

/** Twinlog's version. */
export const VERSION = "0.1.0";

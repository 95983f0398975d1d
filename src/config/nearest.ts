// The word somebody probably meant: used when a key or a flag is unknown.

/**
 * The shortest candidate that has all words of `word`, if it is of several (`namesrv-listen-port` for `namesrv-port`);
 * else the one with the fewest edits from it; `null` when none is near (more than a third of it differs).
 */
export function nearest(word: string, candidates: readonly string[]): string | null {
  return shortestWithWords(wordsOf(word), candidates) ?? nearestByEdits(word, candidates);
}

function shortestWithWords(words: readonly string[], candidates: readonly string[]): string | null {
  if (words.length < 2) return null;
  const having = candidates.filter((candidate) => {
    const own = wordsOf(candidate);
    return words.every((one) => own.includes(one));
  });
  return having.toSorted((a, b) => a.length - b.length)[0] ?? null;
}

/** Of `kebab-case` and of `camelCase`. */
function wordsOf(name: string): string[] {
  return name.replace(/([a-z0-9])([A-Z])/g, "$1-$2").toLowerCase().split("-").filter((one) => one !== "");
}

function nearestByEdits(word: string, candidates: readonly string[]): string | null {
  const wanted = word.toLowerCase();
  let best: string | null = null;
  let bestDistance = Math.floor(word.length / 3) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(wanted, candidate.toLowerCase(), bestDistance);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Levenshtein distance, or `limit` as soon as it is at least that. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let above = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(above[j]! + 1, row[j - 1]! + 1, replace));
    }
    above = row;
  }
  return Math.min(above[b.length]!, limit);
}

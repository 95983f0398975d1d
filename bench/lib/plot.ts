// Figures as SVG: bars of ratios and curves. Pure: numbers in, text out. The background stays transparent, and every colour
// is of a middle lightness, so that a plot can be read on a white page and on a dark one.

/** One series' place, by its name, has one colour and mark everywhere. */
const STYLES: Readonly<Record<string, { colour: string; mark: (x: number, y: number) => string }>> = {
  Deno: { colour: "#2b7bc4", mark: (x, y) => `<circle cx="${x}" cy="${y}" r="4.5"/>` },
  Bun: { colour: "#d55e00", mark: (x, y) => `<rect x="${x - 4}" y="${y - 4}" width="8" height="8"/>` },
  Node: { colour: "#0a9a6c", mark: (x, y) => `<path d="M${x - 5} ${y + 4}h10l-5 -9z"/>` },
  Apache: { colour: "#b0569b", mark: (x, y) => `<path d="M${x} ${y - 6}l6 6l-6 6l-6 -6z"/>` },
};
const GREY = "#7d7d7d";
const CHARACTER = 7;

/** Lines through measured points. */
export interface Curves {
  readonly title: string;
  /** With units, as is `yLabel`. */
  readonly xLabel: string;
  readonly yLabel: string;
  readonly isLogarithmic: boolean;
  readonly series: readonly { readonly name: string; readonly points: readonly (readonly [x: number, y: number])[] }[];
}

/** How many times one thing is another, several to a group. */
export interface Ratios {
  readonly title: string;
  readonly axis: string;
  readonly groups: readonly {
    readonly label: string;
    readonly bars: readonly { readonly name: string; readonly ratio: number }[];
  }[];
}

/** An SVG of curves; x is marked at the points themselves, y begins at 0. */
export function renderCurves({ title, xLabel, yLabel, isLogarithmic, series }: Curves): string {
  const [width, height, left, right, top, bottom] = [640, 340, 84, 616, 66, 286];
  const xs = [...new Set(series.flatMap(({ points }) => points.map(([x]) => x)))].toSorted((a, b) => a - b);
  const place = (x: number) => isLogarithmic ? Math.log(x) : x;
  const [from, to] = [place(xs[0]!), place(xs.at(-1)!)];
  const xOf = (x: number) => round(from === to ? left : left + (place(x) - from) / (to - from) * (right - left));
  const ticks = ticksTo(Math.max(...series.flatMap(({ points }) => points.map(([, y]) => y))));
  const yOf = (y: number) => round(bottom - y / ticks.at(-1)! * (bottom - top));
  const parts = [legend(left, series.map(({ name }) => name))];
  for (const y of ticks) {
    parts.push(line(left, yOf(y), right, yOf(y), y === 0 ? 1 : 0.3));
    parts.push(text(left - 8, yOf(y) + 4, number(y), "end"));
  }
  for (const x of xs) {
    parts.push(line(xOf(x), bottom, xOf(x), bottom + 5, 1), text(xOf(x), bottom + 20, number(x), "middle"));
  }
  parts.push(text((left + right) / 2, height - 12, xLabel, "middle"));
  parts.push(
    `<g transform="translate(16 ${(top + bottom) / 2}) rotate(-90)">${text(0, 0, yLabel, "middle")}</g>`,
  );
  for (const { name, points } of series) {
    const { colour, mark } = STYLES[name]!;
    const places = points.map(([x, y]) => [xOf(x), yOf(y)] as const);
    parts.push(
      `<polyline points="${
        places.map((at) => at.join(",")).join(" ")
      }" fill="none" stroke="${colour}" stroke-width="2"/>`,
    );
    parts.push(`<g fill="${colour}">${places.map(([x, y]) => mark(x, y)).join("")}</g>`);
  }
  return svg(width, height, title, parts);
}

/** An SVG of bars that begin at 1, on a logarithmic axis: twice and half are as far from it. */
export function renderRatioBars({ title, axis, groups }: Ratios): string {
  const [barHeight, gap, top, left, right, width] = [11, 11, 64, 300, 700, 760];
  const ratios = groups.flatMap(({ bars }) => bars.map(({ ratio }) => ratio));
  // With room for the value beside the shortest.
  const from = Math.floor(Math.log2(0.8 * Math.min(1, ...ratios)));
  const to = Math.ceil(Math.log2(Math.max(2, ...ratios)));
  const xOf = (ratio: number) => round(left + (Math.log2(ratio) - from) / (to - from) * (right - left));
  const groupHeight = (bars: readonly unknown[]) => bars.length * barHeight + gap;
  const bottom = groups.reduce((sum, { bars }) => sum + groupHeight(bars), top);
  const names = [...new Set(groups.flatMap(({ bars }) => bars.map(({ name }) => name)))];
  const parts = [legend(left, names)];
  for (let power = from; power <= to; power++) {
    const x = xOf(2 ** power);
    const label = power < 0 ? `1/${2 ** -power}` : `${2 ** power}`;
    parts.push(line(x, top, x, bottom, power === 0 ? 1 : 0.3), text(x, bottom + 18, label, "middle"));
  }
  parts.push(text(width / 2, bottom + 40, axis, "middle"));
  let y = top + gap / 2;
  for (const { label, bars } of groups) {
    parts.push(text(left - 12, y + bars.length * barHeight / 2 + 4, label, "end"));
    for (const { name, ratio } of bars) {
      const [x0, x1] = [xOf(Math.min(1, ratio)), xOf(Math.max(1, ratio))];
      const bar = `x="${x0}" y="${y}" width="${round(x1 - x0)}" height="${barHeight - 1}"`;
      parts.push(`<rect ${bar} fill="${STYLES[name]!.colour}"/>`);
      const at = ratio >= 1
        ? text(x1 + 4, y + 9, ratio.toFixed(2), "start", 10)
        : text(x0 - 4, y + 9, ratio.toFixed(2), "end", 10);
      parts.push(at);
      y += barHeight;
    }
    y += gap;
  }
  return svg(width, bottom + 52, title, parts);
}

/** 0 and up to five round steps above it, the last at or beyond `max`. */
function ticksTo(max: number): number[] {
  if (max <= 0) return [0, 1];
  const unit = 10 ** Math.floor(Math.log10(max / 5));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit * 5 >= max)!;
  return Array.from({ length: Math.ceil(max / step) + 1 }, (_, index) => index * step);
}

function legend(x: number, names: readonly string[]): string {
  let at = x;
  return names.map((name) => {
    const { colour, mark } = STYLES[name]!;
    const entry = `<g fill="${colour}">${mark(at + 6, 44)}</g>${text(at + 18, 48, name, "start")}`;
    at += 40 + name.length * CHARACTER;
    return entry;
  }).join("");
}

function svg(width: number, height: number, title: string, parts: readonly string[]): string {
  const head =
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img"`;
  const font = `font-family="system-ui, sans-serif" font-size="13"`;
  const heading = `<text x="${width / 2}" y="22" text-anchor="middle" font-weight="600" fill="${GREY}">${
    escaped(title)
  }</text>`;
  return `${head} ${font}>\n<title>${escaped(title)}</title>\n${[heading, ...parts].join("\n")}\n</svg>\n`;
}

function text(x: number, y: number, words: string, anchor: "start" | "middle" | "end", size = 13): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" font-size="${size}" fill="${GREY}">${
    escaped(words)
  }</text>`;
}

function line(x1: number, y1: number, x2: number, y2: number, opacity: number): string {
  return `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${GREY}" stroke-opacity="${opacity}"/>`;
}

const round = (value: number) => Math.round(value * 10) / 10;
const number = (value: number) => Number(value.toFixed(2)).toLocaleString("en-US");
const escaped = (words: string) => words.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

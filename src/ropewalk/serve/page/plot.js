// A curve in SVG.

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [640, 240, 56, 36, 12, 16];
const TICKS = 5;
const MOST_POINTS = 1000; // a screen shows no more

/** Draw points (x, y) under a title. The last value is said in words for who does not see the curve. */
export function plot(title, points, { x = "step" } = {}) {
  const drawn = thinned(points);
  const [left, right] = [points[0][0], points.at(-1)[0]];
  const [low, high] = bounds(drawn.map(([, y]) => y));
  const atX = (value) => LEFT + ((value - left) / (right - left || 1)) * (WIDTH - LEFT - RIGHT);
  const atY = (value) => HEIGHT - BOTTOM - ((value - low) / (high - low || 1)) * (HEIGHT - BOTTOM - TOP);
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "plot", role: "img" });
  svg.setAttribute("aria-label", `${title}: from ${short(points[0][1])} to ${short(points.at(-1)[1])} at ${x} ${points.at(-1)[0]}`);
  for (const tick of ticks(low, high)) {
    svg.append(element("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: atY(tick), y2: atY(tick), class: "grid" }));
    svg.append(label(LEFT - 6, atY(tick) + 4, short(tick), "end"));
  }
  for (const tick of ticks(left, right)) svg.append(label(atX(tick), HEIGHT - BOTTOM + 16, short(tick), "middle"));
  svg.append(label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x, "middle"));
  svg.append(element("polyline", { points: drawn.map(([a, b]) => `${atX(a).toFixed(1)},${atY(b).toFixed(1)}`).join(" "), class: "curve" }));
  return svg;
}

/** Means of neighbours, so that at most 1,000 points are left. */
function thinned(points) {
  const size = Math.ceil(points.length / MOST_POINTS);
  if (size === 1) return points;
  const mean = (some, at) => some.reduce((sum, point) => sum + point[at], 0) / some.length;
  return Array.from({ length: Math.ceil(points.length / size) }, (_, place) => {
    const some = points.slice(place * size, (place + 1) * size);
    return [mean(some, 0), mean(some, 1)];
  });
}

function bounds(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return low === high ? [low - 1, high + 1] : [low, high];
}

/** A few round numbers between two others. */
function ticks(low, high) {
  const rough = (high - low) / TICKS || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, place) => (first + place) * step);
}

export const short = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });

function label(x, y, text, anchor) {
  const made = element("text", { x, y, "text-anchor": anchor });
  made.textContent = text;
  return made;
}

function element(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

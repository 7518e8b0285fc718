// Charts: curves over updates, planes of two numbers, and the steps of an answer. Lines end in a marker with the method's name,
// so that no key is needed.

const [LEFT, RIGHT, TOP, BOTTOM] = [44, 62, 22, 30];
const MARKER = 5; // pixels: radius of a marker

// series: [{ name, colour, dash, marker, points: [[x, y], …], band: [[x, low, high], …] or none, at: index of the point where
// the marker stands (default: the last), whiskers: [x low, x high, y low, y high] or none }]
// x, y: { low, high, label, root: whether the axis is of square roots, ticks }; lines: dashed ones of another kind;
// cursor: x that is marked; origin: [x, y] of a ring.
export function drawChart(pen, { width, height, title, x, y, series, lines = [], cursor = null, origin = null }, theme) {
  const inner = { left: LEFT, right: width - RIGHT, top: TOP, bottom: height - BOTTOM };
  const points = series.flatMap((one) => one.points).filter((point) => point.every(Number.isFinite));
  const [xRange, yRange] = [rangeOf(points.map((p) => p[0]), x), rangeOf(points.map((p) => p[1]), y)];
  const across = scale(xRange, inner.left, inner.right, x.root);
  const up = scale(yRange, inner.bottom, inner.top);
  pen.text(inner.left - 38, 9, title, { size: 12.5, weight: 650, fill: theme.ink });
  drawAxes(pen, inner, x.ticks ?? ticks(xRange), ticks(yRange), across, up, { x, y }, theme);
  if (cursor !== null) pen.shape([across(cursor), inner.top, across(cursor), inner.bottom], { stroke: theme.muted, width: 1, closed: false, part: "cursor" });
  drawLines(pen, lines, inner, across, up, theme);
  for (const { band, colour } of series) {
    if (!band) continue;
    const edge = [...band.map(([a, low]) => [a, low]), ...band.map(([a, , high]) => [a, high]).reverse()];
    pen.shape(edge.flatMap(([a, b]) => [across(a), up(b)]), { fill: colour, opacity: 0.16, part: "band" });
  }
  const ends = series.map((one) => drawSeries(pen, one, across, up, theme)).filter(Boolean);
  if (origin) pen.circle(across(origin[0]), up(origin[1]), 3.5, { fill: theme.background, stroke: theme.ink, width: 1.5, part: "origin" });
  drawLabels(pen, ends, inner, theme);
}

function drawLines(pen, lines, inner, across, up, theme) {
  for (const { points, dash = [3, 4], label, part = "margin" } of lines) {
    pen.shape(points.flatMap(([a, b]) => [across(a), up(b)]), { stroke: theme.muted, width: 1.2, dash, closed: false, part });
    const [endX, endY] = points[points.length - 1];
    if (label) pen.text(Math.min(across(endX), inner.right) + 4, up(endY), label, { size: 11, fill: theme.muted });
  }
}

// One line with its marker; returns where its name belongs.
function drawSeries(pen, { name, colour, dash, marker, points, at = points.length - 1, whiskers }, across, up, theme) {
  const drawn = points.filter((point) => point.every(Number.isFinite));
  if (!drawn.length) return null;
  const line = drawn.flatMap(([a, b]) => [across(a), up(b)]);
  if (drawn.length > 1) pen.shape(line, { stroke: colour, width: 2.2, dash, closed: false, part: `line ${name}` });
  const [a, b] = points[at]?.every(Number.isFinite) ? points[at] : drawn[drawn.length - 1];
  if (whiskers) {
    const [left, right, low, high] = whiskers;
    pen.shape([across(left), up(b), across(right), up(b)], { stroke: colour, width: 1.2, opacity: 0.7, closed: false, part: `whisker ${name}` });
    pen.shape([across(a), up(low), across(a), up(high)], { stroke: colour, width: 1.2, opacity: 0.7, closed: false });
  }
  drawMarker(pen, marker, across(a), up(b), MARKER, { fill: colour, stroke: theme.background, width: 1, part: `dot ${name}` });
  const [endX, endY] = at === points.length - 1 ? [across(a), up(b)] : line.slice(-2);
  return { x: endX, y: endY, name, colour };
}

// marker: polygons of about radius 1, each [x, y, x, y, …].
export function drawMarker(pen, marker, x, y, radius, style) {
  for (const polygon of marker) pen.shape(polygon.map((share, i) => (i % 2 ? y : x) + radius * share), style);
}

// Names beside the ends of lines, moved apart where they would overlap.
function drawLabels(pen, ends, inner, theme) {
  const sorted = [...ends].sort((a, b) => a.y - b.y);
  sorted.forEach((end, i) => (end.at = i ? Math.max(end.y, sorted[i - 1].at + 13) : end.y));
  const over = sorted.length ? sorted[sorted.length - 1].at - inner.bottom : 0;
  for (const end of sorted) {
    pen.text(end.x + 8, end.at - Math.max(0, over), end.name, { size: 12, weight: 600, fill: end.colour, halo: theme.background });
  }
}

function drawAxes(pen, { left, right, top, bottom }, xTicks, yTicks, across, up, { x, y }, theme) {
  pen.shape([left, top, left, bottom, right, bottom], { stroke: theme.faint, width: 1, closed: false });
  for (const tick of yTicks) {
    pen.shape([left, up(tick), right, up(tick)], { stroke: theme.faint, width: 0.6, opacity: 0.7, closed: false });
    pen.text(left - 5, up(tick), number(tick), { size: 11, fill: theme.muted, align: "right" });
  }
  for (const tick of xTicks) pen.text(across(tick), bottom + 10, number(tick), { size: 11, fill: theme.muted, align: "center" });
  if (x.label) pen.text((left + right) / 2, bottom + 23, x.label, { size: 11, fill: theme.muted, align: "center" });
  if (y.label) pen.text(left, top - 4, y.label, { size: 11, fill: theme.muted });
}

// An axis from the least to the largest number, with a little room, within what is possible.
function rangeOf(values, { low = null, high = null }) {
  let [a, b] = [Math.min(...values), Math.max(...values)];
  if (!Number.isFinite(a)) [a, b] = [0, 1];
  if (b - a < 1e-9) [a, b] = [a - 0.5 * Math.abs(a || 1), b + 0.5 * Math.abs(b || 1)];
  const room = 0.06 * (b - a);
  return [low ?? a - room, high ?? b + room];
}

function scale([a, b], from, to, root = false) {
  const shape = root ? (x) => Math.sqrt(Math.max(0, x - a)) : (x) => x - a;
  return (x) => from + (shape(x) / (shape(b) || 1)) * (to - from);
}

export function ticks([low, high], about = 4) {
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? power * 10;
  const result = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + 1e-9 * step; tick += step) result.push(Number(tick.toPrecision(12)));
  return result;
}

export const number = (x) => (Math.abs(x) >= 1e4 ? x.toExponential(0) : String(Number(x.toPrecision(3)))).replace("-", "−");

// Three decimals, fewer of large numbers.
export function written(x) {
  const size = Math.abs(x);
  const text = size.toFixed(size < 10 ? 3 : size < 100 ? 2 : size < 1000 ? 1 : 0);
  return (x < 0 && Number(text) > 0 ? "−" : "") + text;
}

// At most three decimals.
export const plain = (x) => String(Number(x.toFixed(3))).replace("-", "−");

// The plane of both answers' log-probabilities since the base: on a dotted line the margin, which DPO scales by beta, is the same.
export function drawPlane(pen, { width, height, title, series }, theme) {
  const values = series.flatMap(({ points }) => points);
  const [low, high] = [Math.min(-1, ...values.map((p) => p[1])), Math.max(1, ...values.map((p) => p[1]))];
  const [left, right] = [Math.min(-1, ...values.map((p) => p[0])), Math.max(1, ...values.map((p) => p[0]))];
  const margin = (d) => {
    const [from, to] = [Math.max(left, low + d), Math.min(right, high + d)];
    return { points: [[from, from - d], [to, to - d]], dash: [1.5, 4], label: number(d) };
  };
  const lines = ticks([left - high, right - low]).map(margin).filter(({ points: [a, b] }) => b[0] > a[0]);
  drawChart(pen, {
    width, height, title, series, lines, origin: [0, 0], x: { label: "chosen answer: likelier to the right · ··· equal margin" }, y: {},
  }, theme);
}

// The plane of KL and return; curve: points of the best return for each KL, which nothing lies above.
export function drawFrontier(pen, { width, height, title, series, curve }, theme) {
  const most = Math.max(...series.flatMap(({ points }) => points.map((p) => p[0])), 0.5);
  const sorted = [...curve].sort((a, b) => a[0] - b[0]);
  const inside = sorted.filter(([kl]) => kl <= most);
  const drawn = inside.length > 1 ? inside : sorted.slice(0, 2);
  if (drawn.length === sorted.length) drawn.push([most, drawn[drawn.length - 1][1]]); // more KL buys nothing more
  const lines = [{ points: drawn, dash: [5, 4], label: "best possible", part: "frontier" }];
  const high = Math.max(...lines[0].points.map((p) => p[1]), ...series.flatMap(({ points }) => points.map((p) => p[1])));
  const low = Math.min(...lines[0].points.map((p) => p[1]), ...series.flatMap(({ points }) => points.map((p) => p[1])));
  const room = 0.06 * (high - low || 1);
  const y = { low: low - room, high: high + room };
  drawChart(pen, { width, height, title, series, lines, x: { low: 0, label: "KL from the base" }, y }, theme);
}

// One bar a step of an answer: its height a number, with a second, narrower bar inside. bars: [{ label, value, pull }]
export function drawSteps(pen, { width, height, title, note, bars, colour }, theme) {
  pen.text(6, 9, title, { size: 12.5, weight: 650, fill: theme.ink });
  pen.text(6, 26, note, { size: 11, fill: theme.muted });
  const [top, bottom, left] = [42, height - 26, 44];
  const values = bars.flatMap(({ value, pull }) => [value, pull, 0]);
  const up = scale(rangeOf(values, {}), bottom, top);
  const pitch = Math.min(70, (width - left - 12) / Math.max(1, bars.length));
  for (const tick of ticks([Math.min(...values), Math.max(...values)], 3)) {
    pen.shape([left, up(tick), left + pitch * bars.length, up(tick)], { stroke: theme.faint, width: 0.6, closed: false });
    pen.text(left - 5, up(tick), number(tick), { size: 11, fill: theme.muted, align: "right" });
  }
  bars.forEach(({ label, value, pull }, i) => {
    const x = left + pitch * (i + 0.15);
    const bar = (from, to, amount, style) => pen.shape([from, up(0), to, up(0), to, up(amount), from, up(amount)], style);
    bar(x, x + pitch * 0.34, value, { fill: theme.muted });
    bar(x + pitch * 0.38, x + pitch * 0.7, pull, { fill: colour });
    if (pitch > 16) pen.text(x + pitch * 0.35, bottom + 12, label, { size: 11, fill: theme.muted, align: "center" });
  });
}

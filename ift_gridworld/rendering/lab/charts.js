// Charts: curves over updates, the plane of both answers' log-probabilities, the plane of KL and return, and the steps of an
// answer. Lines end in a dot with the method's name, so that no key is needed.

const [LEFT, RIGHT, TOP, BOTTOM] = [44, 62, 22, 30];

// series: [{ name, colour, dash, points: [[x, y], …] }]
export function drawChart(pen, { width, height, title, x, y, series, lines = [], labels = true }, theme) {
  const inner = { left: LEFT, right: width - RIGHT, top: TOP, bottom: height - BOTTOM };
  const points = series.flatMap((one) => one.points).filter((point) => point.every(Number.isFinite));
  const [xRange, yRange] = [rangeOf(points.map((p) => p[0]), x), rangeOf(points.map((p) => p[1]), y)];
  const across = scale(xRange, inner.left, inner.right);
  const up = scale(yRange, inner.bottom, inner.top);
  pen.text(inner.left - 38, 9, title, { size: 12.5, weight: 650, fill: theme.ink });
  drawAxes(pen, inner, ticks(xRange), ticks(yRange), across, up, { x, y }, theme);
  for (const { points: line, dash = [3, 4], label } of lines) {
    pen.shape(line.flatMap(([a, b]) => [across(a), up(b)]), { stroke: theme.muted, width: 1.2, dash, closed: false });
    const [endX, endY] = line[line.length - 1];
    if (label) pen.text(Math.min(across(endX), inner.right) + 4, up(endY), label, { size: 11, fill: theme.muted });
  }
  const ends = [];
  for (const { colour, dash = [], points: line, name } of series) {
    const drawn = line.filter((point) => point.every(Number.isFinite));
    if (!drawn.length) continue;
    if (drawn.length > 1) pen.shape(drawn.flatMap(([a, b]) => [across(a), up(b)]), { stroke: colour, width: 2, dash, closed: false });
    const [a, b] = drawn[drawn.length - 1];
    pen.circle(across(a), up(b), 3.5, { fill: colour, stroke: theme.background, width: 1 });
    ends.push({ x: across(a), y: up(b), name, colour });
  }
  if (labels) drawLabels(pen, ends, inner, theme);
  return { across, up };
}

// Names beside the ends of lines, moved apart where they would overlap.
function drawLabels(pen, ends, inner, theme) {
  const sorted = [...ends].sort((a, b) => a.y - b.y);
  sorted.forEach((end, i) => (end.at = i ? Math.max(end.y, sorted[i - 1].at + 13) : end.y));
  const over = sorted.length ? sorted[sorted.length - 1].at - inner.bottom : 0;
  for (const end of sorted) {
    pen.text(end.x + 7, end.at - Math.max(0, over), end.name, { size: 12, weight: 600, fill: end.colour, halo: theme.background });
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

const scale = ([a, b], from, to) => (x) => from + ((x - a) / (b - a || 1)) * (to - from);

export function ticks([low, high], about = 4) {
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? power * 10;
  const result = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + 1e-9 * step; tick += step) result.push(Number(tick.toPrecision(12)));
  return result;
}

export const number = (x) => (Math.abs(x) >= 1e4 ? x.toExponential(0) : String(Number(x.toPrecision(3)))).replace("-", "−");

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

// From the world to what is drawn: scenes of boards, and charts.

import { policyArrows, signedArrows, totalVariation } from "./board.js";
import { drawChart, drawSteps } from "./charts.js";
import { PREFERENCE, titleOf } from "./glossary.js";

const [LEAST_VISITS, LINEAR_TO] = [0.01, 3]; // where a logarithmic scale begins; up to where a linear one says enough

// What all boards share, so that equal colours mean equal numbers.
export function scalesOf(world) {
  const visits = Math.max(1, ...world.tracks.map((track) => Math.max(...world.measured(track).visits)));
  const best = Math.max(...world.references.value);
  return { visits, isLog: visits > LINEAR_TO, value: best || 1 };
}

export function visitShare(visits, { visits: most, isLog }) {
  if (!isLog) return visits / most;
  return Math.log(Math.max(visits, LEAST_VISITS) / LEAST_VISITS) / Math.log(most / LEAST_VISITS);
}

export function sceneOf(world, track, state, scales, extra = {}) {
  const { lake } = world;
  const now = world.measured(track);
  const colours = {
    visits: () => now.visits.map((x) => visitShare(x, scales)),
    value: () => now.value.map((x) => x / scales.value),
    change: () => totalVariation(lake, track.policy, world.references.base),
    none: () => null,
  };
  return {
    lake, kind: state.colour, colour: colours[state.colour](), arrows: arrowsOf(world, track, state),
    shown: extra.shown ?? world.shown("demonstrations"),
    rejected: extra.rejected ?? (PREFERENCE.includes(track.name) ? world.shown("rejected") : []),
    predictions: predictionsOf(world, track), agent: extra.agent,
  };
}

function arrowsOf(world, track, state) {
  const { lake, references } = world;
  if (state.arrows === "optimal") return policyArrows(lake, references.policy);
  if (state.arrows === "change") return signedArrows(lake, track.policy.map((p, i) => p - references.base[i]), 1);
  if (state.arrows === "push") return signedArrows(lake, world.push(track));
  if (state.arrows === "advantage") return signedArrows(lake, world.advantages(track.policy));
  return policyArrows(lake, track.policy);
}

// IFT's predictions at the steps of the first demonstration: [right tile, predicted tile, weight].
function predictionsOf(world, track) {
  if (track.name !== "ift" || !track.learner || !(track.learner.method.options.mixing > 0)) return [];
  const reached = track.learner.method.predictions();
  const { states } = world.data.demonstrations[0];
  const drawn = new Map(); // of equal ones the heaviest
  states.slice(1).forEach((right, t) => reached.get(states[t]).forEach(([to, weight]) => {
    const key = `${weight > 0.99 ? right : to} ${to}`; // a spread of tiles is not tied to the right one
    if (!(drawn.get(key)?.[2] >= weight)) drawn.set(key, [weight > 0.99 ? right : to, to, weight]);
  }));
  return [...drawn.values()];
}

// ---- charts ----

export function seriesOf(world, styles, x, y) {
  return world.tracks.filter((track) => !track.problem).map((track) => ({
    name: titleOf(track.name), colour: styles[track.name].colour, dash: styles[track.name].dash,
    points: [...track.history, { update: world.update, ...world.measured(track) }].map((point) => [x(point), y(point)]),
  }));
}

export const CURVES = [
  ["success", "success", { low: -0.02, high: 1.02 }],
  ["distance", "distance to the optimal policy", {}],
  ["chosen", "log π(chosen answer), nats", {}],
  ["rejected", "log π(rejected answer), nats", {}],
];

// The charts of the page, each { title, draw(pen, width, height) }.
export function chartsOf(world, state, styles, theme) {
  if (state.chart === "preference") return [preferencePlane(world, styles, theme)];
  if (state.chart === "frontier") return [frontierPlane(world, styles, theme)];
  if (state.chart === "steps") return [stepsOf(world, state, styles, theme)];
  return CURVES.filter(([name]) => world.data.chosen.length || !["chosen", "rejected"].includes(name)).map(([name, title, y]) => ({
    title,
    draw: (pen, width, height) => drawChart(pen, {
      width, height, title, y, x: { low: 0, high: Math.max(20, world.update), label: "update" },
      series: seriesOf(world, styles, (point) => point.update, (point) => point[name]),
      lines: name === "success" ? [{ points: [[0, world.references.success], [Math.max(20, world.update), world.references.success]] }] : [],
    }, theme),
  }));
}

function preferencePlane(world, styles, theme) {
  const title = "Preference plane: change of log π since the base, nats";
  if (!world.data.chosen.length) return { title, note: "This lake has no pair: draw a rejected path." };
  const [chosen, rejected] = ["chosen", "rejected"].map((name) => world.tracks[0].history[0][name]);
  const series = seriesOf(world, styles, (point) => point.chosen - chosen, (point) => point.rejected - rejected);
  const values = series.flatMap(({ points }) => points);
  const [low, high] = [Math.min(-1, ...values.map((p) => p[1])), Math.max(1, ...values.map((p) => p[1]))];
  const [left, right] = [Math.min(-1, ...values.map((p) => p[0])), Math.max(1, ...values.map((p) => p[0]))];
  const margin = (d) => ({ points: [[Math.max(left, low + d), Math.max(left, low + d) - d], [Math.min(right, high + d), Math.min(right, high + d) - d]] });
  const lines = [0, 5, 10, 20, 50, 100, 200].map(margin).filter(({ points: [a, b] }) => b[0] > a[0]);
  return {
    title,
    draw: (pen, width, height) => drawChart(pen, {
      width, height, title, series, x: { label: "chosen answer: likelier to the right" }, y: {},
      lines: lines.map((line) => ({ ...line, dash: [1.5, 4] })),
    }, theme),
  };
}

function frontierPlane(world, styles, theme) {
  const title = "Frontier plane: return against discounted KL from the base, nats";
  const series = seriesOf(world, styles, (point) => point.discountedKL, (point) => point.return);
  const most = Math.max(...series.flatMap(({ points }) => points.map((p) => p[0])), 0.5);
  const curve = world.frontier.map(({ kl, return: reached }) => [kl, reached]).sort((a, b) => a[0] - b[0]);
  const inside = curve.filter(([kl]) => kl <= most);
  const lines = [{ points: inside.length > 1 ? inside : curve.slice(0, 2), dash: [5, 4], label: "best possible" }];
  return {
    title,
    draw: (pen, width, height) => drawChart(pen, { width, height, title, series, lines, x: { low: 0, label: "KL from the base" }, y: {} }, theme),
  };
}

function stepsOf(world, state, styles, theme) {
  const track = world.tracks[state.selected];
  const title = `${titleOf(track.name)}: the answer step by step`;
  if (!track.learner || track.name.startsWith("ppo")) return { title, note: "This method learns from its own episodes, not from an answer. Choose another board." };
  const copy = track.learner.copy();
  copy.update();
  const sides = Object.entries(copy.method.scored);
  const bars = sides.flatMap(([side, scored]) => [...scored.logp[0]].map((logp, t) => ({
    label: side === "rejected" ? `r${t + 1}` : String(t + 1), value: -logp,
    pull: scored.pulls[0][t] * scored.logp.length * (sides.length === 1 ? scored.logp[0].length : 1),
  })));
  const what = sides.length === 1 ? "1 is the pull of SFT" : "per nat; r: the rejected answer";
  return {
    title,
    draw: (pen, width, height) => drawSteps(pen, {
      width, height, title, bars, colour: styles[track.name].colour, note: `grey: −log π of the step, nats · colour: pull of the next update (${what})`,
    }, theme),
  };
}

// ---- words ----

// What a board's numbers are, for its headline.
export function headline(world, track) {
  if (track.problem) return track.problem;
  if (track.diverged) return `diverged at update ${track.diverged}: lower the rate`;
  const now = world.measured(track);
  return `success ${now.success.toFixed(3)} · KL ${now.kl.toFixed(2)}`;
}

// One sentence that says what is seen.
export function sentence(world, state) {
  if (world.problem) return world.problem;
  const names = world.tracks.map((track) => titleOf(track.name));
  const listed = names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}` : names[0] ?? "No method";
  if (world.update === 0) {
    const teach = names.length > 1 ? "teach copies of one policy" : "teaches a policy";
    return `${listed} ${teach} the path with the green outline. Press Align and watch where each puts its probability.`;
  }
  const results = world.tracks.filter((track) => !track.problem).map((track) => `${titleOf(track.name)} ${(100 * world.measured(track).success).toFixed(0)} %`);
  return `After ${world.update} update${world.update === 1 ? "" : "s"}, episodes that reach the goal: ${results.join(", ")} (best possible for the discount: ${(100 * world.references.success).toFixed(0)} %).`;
}

// What stands around the boards of a live world: charts, headlines, and one sentence that says what is seen.

import { drawChart, drawFrontier, drawPlane, drawSteps } from "./charts.js";

function seriesOf(world, theme, x, y) {
  return world.tracks.filter((track) => !track.problem).map((track) => ({
    name: track.title, colour: theme.methods[track.look.hue], dash: track.look.dash, marker: track.look.marker,
    points: [...track.history, { update: world.update, ...world.measured(track) }].map((point) => [x(point), y(point)]),
  }));
}

const CURVES = [
  ["success", "success", { low: -0.02, high: 1.02 }],
  ["distance", "distance to the optimal policy", {}],
  ["chosen", "log π(chosen answer), nats", {}],
  ["rejected", "log π(rejected answer), nats", {}],
];

// The charts of the page, each { title, draw(pen, width, height) } or { title, note }.
export function chartsOf(world, state, theme) {
  if (state.chart === "preference") return [preferencePlane(world, theme)];
  if (state.chart === "frontier") return [frontierPlane(world, theme)];
  if (state.chart === "steps") return [stepsOf(world, state, theme)];
  return CURVES.filter(([name]) => world.data.chosen.length || !["chosen", "rejected"].includes(name)).map(([name, title, y]) => ({
    title,
    draw: (pen, width, height) => drawChart(pen, {
      width, height, title, y, x: { low: 0, high: Math.max(20, world.update), label: "update" },
      series: seriesOf(world, theme, (point) => point.update, (point) => point[name]),
      lines: name === "success" ? [{ points: [[0, world.references.success], [Math.max(20, world.update), world.references.success]] }] : [],
    }, theme),
  }));
}

function preferencePlane(world, theme) {
  const title = "Preference plane: change of log π since the base, nats";
  if (!world.data.chosen.length) return { title, note: "This lake has no pair: draw a rejected path." };
  const [chosen, rejected] = ["chosen", "rejected"].map((name) => world.tracks[0].history[0][name]);
  const series = seriesOf(world, theme, (point) => point.chosen - chosen, (point) => point.rejected - rejected);
  return { title, draw: (pen, width, height) => drawPlane(pen, { width, height, title, series }, theme) };
}

function frontierPlane(world, theme) {
  const title = "Frontier plane: return against discounted KL from the base, nats";
  const series = seriesOf(world, theme, (point) => point.discountedKL, (point) => point.return);
  const curve = world.frontier.map(({ kl, return: reached }) => [kl, reached]);
  return { title, draw: (pen, width, height) => drawFrontier(pen, { width, height, title, series, curve }, theme) };
}

function stepsOf(world, state, theme) {
  const track = world.tracks[state.selected];
  const title = `${track.title}: the answer step by step`;
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
      width, height, title, bars, colour: theme.methods[track.look.hue], note: `grey: −log π of the step, nats · colour: pull of the next update (${what})`,
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

// The methods as alternatives.
export function either(tracks) {
  const names = tracks.map((track) => track.title);
  return names.length > 1 ? `${names.slice(0, -1).join(", ")} or ${names[names.length - 1]}` : names[0];
}

// One sentence that says what is seen.
export function sentence(world) {
  if (world.problem) return world.problem;
  if (world.update === 0) {
    return `On each lake one method (${either(world.tracks)}) teaches an agent the way from S to the flag: press Align and watch its arrows and where it walks.`;
  }
  const results = world.tracks.filter((track) => !track.problem).map((track) => `${track.title} ${(100 * world.measured(track).success).toFixed(0)} %`);
  return `After ${world.update} update${world.update === 1 ? "" : "s"}, episodes that reach the goal: ${results.join(", ")} (best possible for the discount: ${(100 * world.references.success).toFixed(0)} %).`;
}

// What a tile does, under a method.
export const endsHere = (world, track, tile) => `${(100 * world.seen(track).visits[tile]).toFixed(1)} % of the episodes end here`;

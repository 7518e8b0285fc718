// What stands around the boards of saved runs: charts of means over seeds, headlines, the tile that is looked at, and a sentence.

import { drawChart, drawFrontier, drawPlane, plain, written } from "./charts.js";
import { either } from "./view.js";

const [CHOSEN, REJECTED] = ["chosen_logp", "rejected_logp"];
const MOST_EXPLAINED = 2; // predictions told of a tile

// One sentence that says what is seen.
export function sentence(replay) {
  const { runs, tracks, update } = replay;
  if (replay.index === 0) return `A saved run: on each map one method (${either(tracks)}) has trained the same agent, for ${runs.updates[replay.end]} updates: press Play and watch its arrows and where it walks.`;
  const results = tracks.map((track) => `${track.title} ${written(replay.drawn(track, runs.headline))}`);
  return `At update ${update} of ${runs.updates[replay.end]}, ${runs.headline} of ${replay.seedName}: ${results.join(", ")}.`;
}

// What a board's numbers are: those of the seed whose map it is.
export function headline(replay, track) {
  const { headline: name } = replay.runs;
  const parts = [`${replay.seedName}: ${name} ${written(replay.drawn(track, name))}`, `distance to optimal ${written(replay.drawn(track, "distance"))}`];
  return [...parts, replay.age(track)].filter(Boolean).join(" · ");
}

// What the curves are means of.
export function averaged({ tracks }) {
  const seeds = [...new Set(tracks.map((track) => track.seeds))];
  if (seeds.join() === "1") return "Curves: one seed.";
  return seeds.length === 1 ? `Curves: mean of ${seeds[0]} seeds, 95 % interval.` : `Curves: means of ${seeds.join(" and ")} seeds, 95 % intervals.`;
}

const lookOf = (track, theme) => ({
  name: track.title, colour: theme.methods[track.look.hue], dash: track.look.dash, marker: track.look.marker,
});

// The charts of the page, each { title, label for who cannot see it, draw(pen, width, height) }.
export function chartsOf(replay, state, theme) {
  const pairs = replay.tracks.filter((track) => track.pair);
  if (state.chart === "preference") return [preferencePlane(replay, pairs, theme)];
  if (state.chart === "frontier") return [frontierPlane(replay, theme)];
  return replay.runs.charts.map((chart) => curve(replay, chart, theme));
}

function curve(replay, { name, title, limit }, theme) {
  const { tracks, runs } = replay;
  const end = runs.updates[replay.end] || 1;
  const best = tracks.map((track) => track.optimum[name]).find((value) => value !== undefined);
  const values = tracks.flatMap((track) => [...track.curves[name].high, ...track.curves[name].low]);
  const [low, high] = limit ? [0, limit] : [Math.min(0, ...values), Math.max(...values) * 1.08 || 1];
  const series = tracks.map((track) => {
    const c = track.curves[name];
    return {
      ...lookOf(track, theme), points: track.steps.map((step, k) => [step, c.mean[k]]), at: replay.now(track),
      band: track.seeds > 1 ? track.steps.map((step, k) => [step, c.low[k], c.high[k]]) : null,
    };
  });
  const label = tracks.map((track) => {
    const [c, k] = [track.curves[name], replay.now(track)];
    const range = track.seeds > 1 ? ` [${written(c.low[k])}, ${written(c.high[k])}]` : "";
    return `${title} of ${track.title} at update ${track.steps[k]}: ${written(c.mean[k])}${range}`;
  }).join("; ");
  return {
    name, title, label,
    draw: (pen, width, height) => drawChart(pen, {
      width, height, title, series, cursor: replay.update, y: { low, high },
      x: { low: 0, high: end, root: true, ticks: runs.ticks, label: "update, on a square-root axis" },
      lines: best === undefined ? [] : [{ points: [[0, best], [end, best]], dash: [2, 3], part: "best" }],
    }, theme),
  };
}

// x is the chosen answer, y the rejected one. Where a method drains both, its curve bends back to the left.
function preferencePlane(replay, tracks, theme) {
  const title = "Preference plane: change of log π since the base, nats";
  if (!tracks.length) return { title, note: "These runs have not measured both answers' log-probabilities." };
  const series = tracks.map((track) => {
    const [c, r, k] = [track.pair[CHOSEN], track.pair[REJECTED], replay.now(track)];
    const whiskers = track.seeds > 1 ? [c.low[k], c.high[k], r.low[k], r.high[k]] : null;
    return { ...lookOf(track, theme), points: c.mean.map((x, i) => [x, r.mean[i]]), at: k, whiskers };
  });
  const label = tracks.map((track) => `${track.title} at update ${track.steps[replay.now(track)]}: the chosen answer's log-probability ` +
    `has changed by ${written(track.pair[CHOSEN].mean[replay.now(track)])} nats, the rejected one's by ${written(track.pair[REJECTED].mean[replay.now(track)])}`).join("; ");
  return { name: "plane", title, label, draw: (pen, width, height) => drawPlane(pen, { width, height, title, series }, theme) };
}

// Of the seed that is shown, for each has a base and so a frontier of its own.
function frontierPlane(replay, theme) {
  const title = `Frontier plane of ${replay.seedName}: return against discounted KL from the base, nats`;
  const known = replay.runs.frontier[replay.seed];
  if (!known) return { title, note: "These runs have not recorded KL and return of one base: they are not measured on large lakes." };
  const series = replay.chosen.map((i) => {
    const { kl, value } = known.runs[i];
    return { ...lookOf(replay.all[i], theme), points: kl.map((x, k) => [x, value[k]]), at: replay.now(replay.all[i]) };
  });
  const label = replay.chosen.map((i) => {
    const [track, { kl, value, gap }] = [replay.all[i], known.runs[i]];
    const k = replay.now(track);
    return `${track.title} at update ${track.steps[k]}: KL ${written(kl[k])}, return ${written(value[k])}, ${written(gap[k])} below the best possible`;
  }).join("; ");
  const curve = known.kl.map((kl, k) => [kl, known.value[k]]);
  return { name: "frontier", title, label, draw: (pen, width, height) => drawFrontier(pen, { width, height, title, series, curve }, theme) };
}

// ---- the tile that is looked at ----

// Rows of its numbers under each method: { group, what, numbers, best }.
export function numbersOf(replay, s) {
  const { layout, tracks, optimum } = replay;
  const [actions, seen] = [layout.actions.length, tracks.map((track) => replay.seen(track))];
  const moved = seen.map(({ policy, base }) => {
    let sum = 0;
    for (let i = s * actions; i < (s + 1) * actions; i++) sum += Math.abs(policy[i] - base[i]) / 2;
    return sum;
  });
  return [
    ...layout.actions.map((what, a) => ({ what, numbers: seen.map(({ policy }) => policy[s * actions + a]), best: optimum.policy[s * actions + a] })),
    { what: "value", numbers: seen.map(({ value }) => value[s]), best: optimum.value[s] },
    { what: "visits", numbers: seen.map(({ visits }) => visits[s]) },
    { what: "change", numbers: moved },
  ];
}

// What IFT makes of the tile: where it stands instead, or that it is predicted.
export function explained(replay, s) {
  const { layout, tracks } = replay;
  const lines = tracks.flatMap((track) => replay.predicted(track).flatMap(({ step, right, weights }) => {
    const [here, there] = [right === s, weights.get(s)];
    if (!here && !there) return [];
    const others = [...weights].map(([other, weight]) => `${layout.nameOf(other)}${weight < 0.995 ? ` (${weight.toFixed(2)})` : ""}`);
    const words = here
      ? `${track.title}, step ${step} of the demonstration: it trains here on ${plain(1 - track.mixing)} of this tile and λ = ${plain(track.mixing)} of its own prediction, ${others.join(", ")}.`
      : `${track.title} predicts this tile at step ${step}, where the demonstration is on ${layout.nameOf(right)}: weight λ = ${plain(track.mixing)}${there < 0.995 ? ` × ${there.toFixed(2)}` : ""}.`;
    return [{ here, words }];
  }));
  lines.sort((one, other) => other.here - one.here);
  const more = lines.length > MOST_EXPLAINED ? [`… and ${lines.length - MOST_EXPLAINED} more.`] : [];
  return [...lines.slice(0, MOST_EXPLAINED).map(({ words }) => words), ...more];
}

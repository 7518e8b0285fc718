// From a world, live or saved, to what its boards show.

import { policyArrows, signedArrows, totalVariation } from "./board.js";

const CHANGE = {
  low: 0, high: 1, log: false, ticks: [0, 0.5, 1], below: false, unit: "change since the base: total variation of the moves",
};

// The scale of the colours that tiles have: of all boards together, so that equal colours mean equal numbers.
export const scaleOf = (world, colour) => (colour === "change" ? CHANGE : world.scales[colour] ?? null);

// Where a number lies on a scale, from 0 to 1.
export function shareOf(x, { low, high, log }) {
  const part = log ? Math.log(Math.max(x, low) / low) / Math.log(high / low) : (x - low) / (high - low);
  return Math.max(0, Math.min(1, part));
}

// extra: what is drawn beside the policy: shown or rejected tiles while they are drawn, an agent's trail, the tile looked at.
export function sceneOf(world, track, state, extra = {}) {
  const { layout } = world;
  const scale = scaleOf(world, state.colour);
  const numbers = scale && numbersOf(world, track, state.colour);
  return {
    layout, kind: state.colour, colour: scale && numbers.map((x) => shareOf(x, scale)), arrows: arrowsOf(world, track, state),
    shown: extra.shown ?? world.shown(track), rejected: extra.rejected ?? world.rejected(track),
    predictions: state.predictions ? world.predictions(track) : [], trail: extra.trail, here: extra.here,
  };
}

function numbersOf(world, track, colour) {
  const { policy, base, value, visits } = world.seen(track);
  return { visits, value }[colour] ?? totalVariation(world.layout.states, policy, base);
}

function arrowsOf(world, track, state) {
  const { layout, optimum } = world;
  const { policy, base } = world.seen(track);
  if (state.arrows === "optimal") return policyArrows(layout, optimum.policy);
  if (state.arrows === "change") return signedArrows(layout, policy.map((p, i) => p - base[i]), 1);
  if (state.arrows === "push" && world.push) return signedArrows(layout, world.push(track));
  if (state.arrows === "advantage" && world.advantages) return signedArrows(layout, world.advantages(policy));
  return policyArrows(layout, policy);
}

// What a policy does in a state, in words: the moves that have more than a hundredth.
export function movesInWords({ actions }, policy, state) {
  const moves = actions.map((name, a) => [policy[state * actions.length + a], name]).filter(([p]) => p >= 0.01);
  return moves.sort((a, b) => b[0] - a[0]).map(([p, name]) => `${name} ${(100 * p).toFixed(p > 0.995 || p < 0.1 ? 1 : 0)} %`).join(", ");
}

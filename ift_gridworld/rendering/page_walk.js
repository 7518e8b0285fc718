// Agents that walk by the policies. All boards share their random numbers: where two policies agree, so do their agents.

import { byId, lake, A, K, row, column, open, kindOf, state, at, probability } from "./page_run.js";
import { plain, escaped, trace } from "./page_svg.js";
import { look } from "./page_tile.js";

const SLOW = 220, FAST = 40, FEW = 25, LIMIT = 200;  // milliseconds a step, of the first few and of those after them; steps
let drops = 0;

// Uniform numbers in [0, 1) that a seed determines (mulberry32).
export function uniforms(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// The inverse of the distribution function: which of the weights a uniform number falls on.
export function picked(weights, uniform) {
  let left = uniform * weights.reduce((sum, w) => sum + w, 0);
  for (let i = 0; i < weights.length; i++) {
    left -= weights[i];
    if (left < 0) return i;
  }
  return weights.findLastIndex(w => w > 0);
}

export function stopAgent() {
  if (state.agent) clearTimeout(state.agent.timer);
  state.agent = null;
  for (const b of state.boards) {
    b.trail.setAttribute("d", "");
    b.edge.setAttribute("d", "");
    b.walker.setAttribute("visibility", "hidden");
  }
  byId("walk").innerHTML = "<p class=\"muted\">Click or tap a tile to drop an agent there.</p>";
}

export function drop(s) {
  look(s);
  stopAgent();
  if (!open(s)) {
    byId("walk").innerHTML = "<p>No episode goes on from here: drop the agent on another tile.</p>";
    return;
  }
  const random = uniforms(++drops);
  state.agent = { walks: state.boards.map(() => ({ path: [s], reward: 0, over: "" })), random, timer: 0 };
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) while (tread());
  else stroll();
  draw();
}

function stroll() {
  const more = tread();
  draw();
  const steps = Math.max(...state.agent.walks.map(walk => walk.path.length));
  if (more) state.agent.timer = setTimeout(stroll, steps < FEW ? SLOW : FAST);
}

// One step of every agent, on the same two random numbers; whether any goes on.
function tread() {
  const { walks, random } = state.agent, action = random(), slip = random(), limit = lake.horizon || LIMIT;
  state.boards.forEach((b, i) => {
    const walk = walks[i], here = walk.path.at(-1);
    if (walk.over) return;
    const a = picked(lake.actions.map((_, move) => probability(b.m, at(b.m), here, move)), action);
    const slots = (here * A + a) * K, outcome = slots + picked([...lake.chance.slice(slots, slots + K)], slip);
    walk.path.push(lake.next[outcome]);
    walk.reward += lake.reward[outcome];
    if (lake.ends[outcome] > 1.5) walk.over = "reached the goal";
    else if (lake.ends[outcome] > .5) walk.over = `ended ${ending(lake.next[outcome])}`;
    else if (walk.path.length > limit) walk.over = "ran out of time";
  });
  return walks.some(walk => !walk.over);
}

const ending = s => row(s) < 0 || kindOf(s) === "ground" ? "without reaching the goal" : `in the ${kindOf(s)}`;

function draw() {
  state.boards.forEach((b, i) => {
    const { path } = state.agent.walks[i], here = path.at(-1), d = trace(path.filter(s => row(s) >= 0));
    b.trail.setAttribute("d", d);
    b.edge.setAttribute("d", d);
    for (const [key, value] of Object.entries({ cx: 100 * column(here) + 50, cy: 100 * row(here) + 50, visibility: "visible" }))
      b.walker.setAttribute(key, value);
  });
  byId("walk").innerHTML = "<h2>the agent</h2>" + state.boards.map((b, i) => {
    const walk = state.agent.walks[i], steps = walk.path.length - 1;
    const told = walk.over ? `${walk.over} after ${steps} step${steps === 1 ? "" : "s"}, reward ${plain(walk.reward)}` : "walking …";
    return `<p data-walk="${escaped(b.m.name)}">${escaped(b.m.title)}: ${told}</p>`;
  }).join("");
  if (state.agent.walks.every(walk => walk.over)) byId("status").textContent = byId("walk").innerText;
}

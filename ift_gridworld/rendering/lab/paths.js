// What the human shows: the best path, one with a wrong turn, paths that the visitor draws, and episodes drawn from a policy.
// An answer is { states, actions, reached }: where each step was taken and which way, and the tile that the last one led to.

import { pick } from "./random.js";
import { optimalPolicy, optimalValues } from "./planning.js";

// The answer that walks these actions without slip.
export function replay(lake, start, actions) {
  const states = [];
  let here = start;
  for (const action of actions) {
    states.push(here);
    here = lake.neighbour(here, action);
  }
  return { states, actions: [...actions], reached: here };
}

// Actions of the shortest way from a tile to the goal that enters none of `seen`, by allowed(state, action); or null.
function shortest(lake, from, seen, allowed = () => true) {
  seen.add(from);
  let level = [{ state: from, actions: [] }];
  while (level.length) {
    const following = [];
    for (const { state, actions } of level) {
      for (let a = 0; a < lake.actions; a++) {
        if (!allowed(state, a)) continue;
        const next = lake.neighbour(state, a);
        if (lake.letters[next] === "G") return [...actions, a];
        if (lake.terminal[next] || seen.has(next)) continue;
        seen.add(next);
        following.push({ state: next, actions: [...actions, a] });
      }
    }
    level = following;
  }
  return null;
}

// The shortest optimal path from the first start, the first of equal ones.
export function bestPath(lake, policy = optimalPolicy(lake)) {
  const actions = shortest(lake, lake.first, new Set(), (s, a) => policy[s * lake.actions + a] > 0);
  return actions && replay(lake, lake.first, actions);
}

// The best path with one wrong turn off an optimal one and no turning back, the one that turns off first among equals; where
// there is none (a corridor), a wasted first step and the best path; null if there is neither.
export function detour(lake) {
  const { q } = optimalValues(lake);
  const best = optimalPolicy(lake, q);
  const rounded = (x) => Number(x.toPrecision(10)); // returns that are equal in truth differ in their last bits
  const turns = optimalPrefixes(lake, best).flatMap(({ path, actions }) => {
    const [here, before] = [path[path.length - 1], path[path.length - 2] ?? path[0]];
    return [0, 1, 2, 3].filter((a) => best[here * lake.actions + a] === 0).map((a) => {
      const bound = rounded(lake.discount ** actions.length * q[here * lake.actions + a]); // what could follow at best
      return { path, actions, here, turn: a, order: [-bound, actions.length, before, here, a] };
    });
  });
  turns.sort((one, other) => {
    const differs = one.order.findIndex((x, i) => x !== other.order[i]);
    return differs < 0 ? 0 : one.order[differs] - other.order[differs];
  });
  let highest = null;
  for (const { path, actions, here, turn } of turns) {
    const next = lake.neighbour(here, turn);
    const goal = lake.letters[next] === "G";
    if (!goal && (lake.terminal[next] || path.includes(next))) continue;
    const rest = goal ? [] : shortest(lake, next, new Set(path));
    if (!rest) continue;
    const found = { score: rounded(lake.discount ** (actions.length + rest.length)), steps: actions.length, actions: [...actions, turn, ...rest] };
    if (!highest || found.score > highest.score || (found.score === highest.score && found.steps < highest.steps)) highest = found;
  }
  if (highest) return replay(lake, lake.first, highest.actions);
  const shown = bestPath(lake, best);
  const wasted = [0, 1, 2, 3].find((a) => !best[lake.first * lake.actions + a] && lake.neighbour(lake.first, a) === lake.first);
  return shown && wasted !== undefined ? replay(lake, lake.first, [wasted, ...shown.actions]) : null;
}

// The optimal ways from the start to each tile that optimal moves reach, breadth first: one for each pair of a tile and the
// tile before it, because a wrong turn may lead back along one and not along the other.
function optimalPrefixes(lake, best) {
  const prefixes = [{ path: [lake.first], actions: [] }];
  const [edges, entered] = [new Set(), new Set([lake.first])];
  let level = prefixes;
  while (level.length) {
    const following = [];
    for (const { path, actions } of level) {
      const here = path[path.length - 1];
      for (let a = 0; a < lake.actions; a++) {
        const next = lake.neighbour(here, a);
        const edge = `${here} ${next}`;
        if (!(best[here * lake.actions + a] > 0) || lake.terminal[next] || next === here || edges.has(edge)) continue;
        edges.add(edge);
        const prefix = { path: [...path, next], actions: [...actions, a] };
        prefixes.push(prefix);
        if (!entered.has(next)) following.push(prefix);
        entered.add(next);
      }
    }
    level = following;
  }
  return prefixes;
}

// Tiles that the visitor dragged over, as an answer; or { problem } in words.
export function pathFromTiles(lake, tiles) {
  if (!tiles.length || lake.letters[tiles[0]] !== "S") return { problem: "a path begins on a start" };
  const actions = [];
  for (let i = 1; i < tiles.length; i++) {
    const action = [0, 1, 2, 3].find((a) => lake.neighbour(tiles[i - 1], a) === tiles[i] && tiles[i] !== tiles[i - 1]);
    if (action === undefined) return { problem: "a path goes from each tile to one beside it" };
    if (lake.terminal[tiles[i - 1]]) return { problem: "a path ends where the episode ends" };
    actions.push(action);
  }
  if (!actions.length) return { problem: "a path has at least one step" };
  return replay(lake, tiles[0], actions);
}

// One episode of a policy [S A], cut off at the time limit. `draw` gives [for the action, for the outcome] at each step, so that
// several policies can walk on common random numbers.
export function episode(lake, policy, start, draw, horizon = lake.horizon) {
  const answer = { states: [], actions: [], rewards: [], reached: start };
  for (let t = 0; t < horizon && !lake.terminal[answer.reached]; t++) {
    const here = answer.reached;
    const [forAction, forOutcome] = draw(t);
    const action = pick(policy, here * lake.actions, lake.actions, forAction);
    const slot = lake.index(here, action, pick(lake.probability, lake.index(here, action), lake.slots, forOutcome));
    answer.states.push(here);
    answer.actions.push(action);
    answer.rewards.push(lake.reward[slot]);
    answer.reached = lake.next[slot];
  }
  return answer;
}

// Demonstrations and pairs for a lake: one path where it is the whole truth, else `count` episodes of the optimal policy, and
// of one that acts at random half of the time, labelled by their return.
export function defaultAnswers(lake, random, count = 16) {
  if (lake.deterministic) {
    const [chosen, rejected] = [bestPath(lake), detour(lake)];
    return { demonstrations: [chosen], chosen: rejected ? [chosen] : [], rejected: rejected ? [rejected] : [] };
  }
  const best = optimalPolicy(lake);
  const noisy = best.map((p) => 0.5 * p + 0.5 / lake.actions);
  const draw = () => [random.uniform(), random.uniform()];
  const walk = (policy) => episode(lake, policy, pick(lake.start, 0, lake.states, random.uniform()), draw);
  const demonstrations = Array.from({ length: count }, () => walk(best));
  const [chosen, rejected] = [[], []];
  for (let round = 0; round < 20 * count && chosen.length < count; round++) {
    const first = walk(best);
    const second = episode(lake, noisy, first.states[0], draw);
    const [one, two] = [first, second].map((answer) => returnOf(lake, answer));
    if (one === two) continue; // no preference
    chosen.push(one > two ? first : second);
    rejected.push(one > two ? second : first);
  }
  return { demonstrations, chosen, rejected };
}

function returnOf(lake, answer) {
  return answer.rewards.reduce((sum, reward, t) => sum + reward * lake.discount ** t, 0);
}

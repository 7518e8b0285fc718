// Base policies, the loop, and what is measured.

import { DPO, IFT, IPO, ORPO, SFT, SimPO, TDPO } from "./methods.js";
import { Adam, OPTIMISERS } from "./optimiser.js";
import { episodesWithin, evaluatePolicy, optimalPolicy, optimalValues } from "./planning.js";
import { Inputs, logSoftmax, POLICIES } from "./policy.js";
import { ExactPPO, PPO } from "./ppo.js";
import { Random } from "./random.js";

export const METHODS = { sft: SFT, ift: IFT, dpo: DPO, tdpo: TDPO, ipo: IPO, orpo: ORPO, simpo: SimPO, ppo: PPO, ppo_exact: ExactPPO };

const LEAST = 1e-12; // probability that a saved 0 counts as

// A policy to align: uniform, random, cloned from answers good and bad as a pre-trained model is, or that of a saved run, of
// which the page has the probabilities: a table has them exactly, a network is fitted to them.
export function makeBase(kind, lake, { policy = "network", seed = 0, hidden = 64, good = 0.5, noise = 0.3, answers, saved } = {}) {
  const Kind = POLICIES[policy];
  if (kind === "uniform" && policy === "table") return new Kind(lake.states, lake.actions);
  const base = Kind.random(lake.states, lake.actions, new Random(seed), hidden);
  if (kind === "uniform") base.parameters[2].fill(0);
  if (kind === "mixture") clone(base, lake, answers, [good, 1 - good], noise);
  if (kind === "run" && policy === "table") base.parameters[0].set(saved.map((p) => Math.log(Math.max(p, LEAST))));
  else if (kind === "run") fit(base, lake.walkable, lake.walkable.flatMap((s) => [...saved.slice(s * lake.actions, (s + 1) * lake.actions)]), 400);
  return base;
}

// Fits a policy to two demonstrators' mixed, noisy choices on the tiles that they visit; other tiles are left to chance.
export function clone(policy, lake, [optimal, suboptimal], shares, noise, updates = 120) {
  const width = lake.actions;
  const counts = new Float64Array(lake.states * width);
  [optimal, suboptimal].forEach((answers, i) => {
    for (const { states, actions } of answers) {
      states.forEach((s, t) => (counts[s * width + actions[t]] += shares[i] / answers.length));
    }
  });
  const visited = [...Array(lake.states).keys()].filter((s) => counts.subarray(s * width, (s + 1) * width).some((c) => c > 0));
  const target = visited.flatMap((s) => {
    const row = [...counts.subarray(s * width, (s + 1) * width)];
    const total = row.reduce((a, b) => a + b);
    return row.map((c) => ((1 - noise) * c) / total + noise / width);
  });
  fit(policy, visited, target, updates);
}

// Fits a policy to target probabilities in some states, by their cross entropy.
function fit(policy, states, target, updates) {
  const [inputs, width] = [Inputs.states(states), policy.outputs];
  const adam = new Adam([policy], 0);
  for (let update = 0; update < updates; update++) {
    adam.rate = 8 * policy.constructor.learningRate * (1 - update / updates); // fast at first, then settling down
    const pass = policy.forward(inputs);
    const slope = logSoftmax(pass.logits, width).map((logp, i) => (Math.exp(logp) - target[i]) / states.length);
    policy.backward(pass, slope);
    adam.step();
  }
}

// A method in training on a copy of a base.
export class Learner {
  constructor(name, lake, base, data, { optimiser = "adam", rate = null, seed = 0, ...options } = {}) {
    const Kind = METHODS[name];
    if (!Kind) throw new RangeError(`method is ${JSON.stringify(name)}; allowed: ${Object.keys(METHODS).join(", ")}`);
    Object.assign(this, { name, lake, base, updates: 0 });
    this.policy = base.clone();
    this.method = new Kind(lake, this.policy, name === "ppo" ? { ...data, ...walkData(base, lake, seed, options) } : data, options);
    this.optimiser = new OPTIMISERS[optimiser](this.method.groups, rate ?? base.constructor.learningRate);
  }

  // One update; returns its loss.
  update() {
    const loss = this.method.step();
    this.optimiser.step(this.method.maxNorm);
    this.updates += 1;
    return loss;
  }

  // An equal learner that goes its own way: for looking at the next update without making it.
  copy() {
    const other = Object.assign(Object.create(Learner.prototype), this, { policy: this.policy.clone() });
    other.method = this.method.copy(other.policy);
    other.optimiser = this.optimiser.copy(other.method.groups);
    return other;
  }
}

// Three random numbers for each walker, as `ppo.Walkers` asks for.
class WalkDraws {
  constructor(random, walkers) {
    Object.assign(this, { random, walkers });
  }

  next() {
    const { random } = this;
    return Array.from({ length: this.walkers }, () => [random.uniform(), random.uniform(), random.uniform()]);
  }

  copy() {
    return new WalkDraws(this.random.copy(), this.walkers);
  }
}

// A critic that is 0 everywhere, and random numbers for walkers.
function walkData(base, lake, seed, { walkers = 64 }) {
  const random = new Random(seed + 1); // one stream a learner, so that those beside it do not matter
  const critic = base.constructor.random(lake.states, 1, random, base.hidden);
  critic.parameters[critic.parameters.length > 1 ? 2 : 0].fill(0);
  return { critic, draws: new WalkDraws(random, walkers) };
}

// What does not change while training, for `measure`.
export function referencesOf(lake, base) {
  const { value, q } = optimalValues(lake);
  const policy = optimalPolicy(lake, q);
  return {
    value, policy, base: base.distribution(), return: dot(value, lake.start), success: episodesWithin(lake, policy).success,
  };
}

// Success within the time limit, return, regret, distance to the optimal policy, KL from the base, and the answers'
// log-probabilities; with the visits and values that the board shows.
export function measure(lake, policy, references, data) {
  const { visits, steps, success } = episodesWithin(lake, policy);
  const value = evaluatePolicy(lake, policy);
  const width = lake.actions;
  let [distance, kl] = [0, 0];
  for (const s of lake.walkable) {
    let [gap, nats] = [0, 0];
    for (let i = s * width; i < (s + 1) * width; i++) {
      gap += (policy[i] - references.policy[i]) ** 2;
      if (policy[i] > 0) nats += policy[i] * Math.log(policy[i] / references.base[i]);
    }
    distance += gap / width / lake.walkable.length;
    kl += steps[s] * nats;
  }
  const reached = dot(value, lake.start);
  return {
    success, return: reached, regret: references.return - reached, distance, kl, visits, value,
    chosen: meanLogp(policy, width, data.chosen), rejected: meanLogp(policy, width, data.rejected),
  };
}

// Mean over answers of Σ_t log π(a_t|s_t); a probability too small for a float counts as 1e-308.
function meanLogp(policy, width, answers) {
  if (!answers?.length) return null;
  const tiny = 2.2250738585072014e-308;
  const sums = answers.map(({ states, actions }) =>
    states.reduce((sum, s, t) => sum + Math.log(Math.max(tiny, policy[s * width + actions[t]])), 0));
  return sums.reduce((a, b) => a + b) / sums.length;
}

const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);

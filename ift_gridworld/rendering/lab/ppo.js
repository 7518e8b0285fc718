// RLHF by PPO: from sampled rollouts with a critic, and with exact advantages and visits, as infinitely many walkers give them.

import { Method } from "./methods.js";
import { generalizedAdvantage, ppoClipLoss, valueLoss } from "./losses.js";
import { backup, discountedVisits, evaluatePolicy } from "./planning.js";
import { Inputs, logSoftmax, pushLogits } from "./policy.js";
import { pick } from "./random.js";

const SCALE_FLOOR = 1e-3; // keeps a batch without any reward from being blown up to unit noise

// Walkers that step through a lake, starting a new episode after each end. `draws.next()` gives an array [walkers][3]: for
// the action, for the outcome, for the next start.
export class Walkers {
  constructor(lake, count, draws) {
    Object.assign(this, { lake, count, draws });
    const first = draws.next();
    this.states = Int32Array.from({ length: count }, (_, w) => pick(lake.start, 0, lake.states, first[w][0]));
    this.elapsed = new Int32Array(count);
  }

  copy() {
    return Object.assign(Object.create(Walkers.prototype), this, {
      draws: this.draws.copy(), states: this.states.slice(), elapsed: this.elapsed.slice(),
    });
  }

  // [walkers] rows of steps { state, action, next, reward, terminated, truncated }.
  walk(policy, steps) {
    const { lake } = this;
    const rows = Array.from({ length: this.count }, () => []);
    for (let t = 0; t < steps; t++) {
      const draws = this.draws.next();
      for (let w = 0; w < this.count; w++) {
        const state = this.states[w];
        const action = pick(policy, state * lake.actions, lake.actions, draws[w][0]);
        const slot = lake.index(state, action, pick(lake.probability, lake.index(state, action), lake.slots, draws[w][1]));
        const [next, terminated] = [lake.next[slot], lake.terminated[slot] === 1];
        this.elapsed[w] += 1;
        const truncated = this.elapsed[w] >= lake.horizon && !terminated;
        rows[w].push({ state, action, next, reward: lake.reward[slot], terminated, truncated });
        const ended = terminated || truncated;
        this.states[w] = ended ? pick(lake.start, 0, lake.states, draws[w][2]) : next;
        if (ended) this.elapsed[w] = 0;
      }
    }
    return rows;
  }
}

const PPO_DEFAULTS = { beta: 0.001, clip: 0.2, epochs: 4, entropy: 0.001, maxNorm: 0.5 };

// What both share: the reference, new data every few updates, and the entropy.
class OnPolicy extends Method {
  constructor(...args) {
    super(...args);
    this.maxNorm = this.options.maxNorm;
    this.reference = this.policy.logTable();
    this.updates = 0;
    this.every = Inputs.states(Int32Array.from({ length: this.lake.states }, (_, s) => s));
  }

  step() {
    if (this.updates % this.options.epochs === 0) this.rollOut();
    this.updates += 1;
    return this.learn();
  }

  // Adds the gradient of -weight H(π(.|s)) to the slope of the logits of one state; returns -weight H.
  entropyTerm(slope, table, state, weight) {
    const width = this.lake.actions;
    let entropy = 0;
    for (let i = state * width; i < (state + 1) * width; i++) if (table[i] > -Infinity) entropy -= Math.exp(table[i]) * table[i];
    for (let i = state * width; i < (state + 1) * width; i++) {
      if (table[i] > -Infinity) slope[i] += weight * Math.exp(table[i]) * (table[i] + entropy);
    }
    return -weight * entropy;
  }
}

export class PPO extends OnPolicy {
  static defaults = { ...PPO_DEFAULTS, walkers: 64, segment: 32, lam: 0.95 };

  // data.critic: a policy of one output; data.draws: random numbers for `Walkers`.
  constructor(...args) {
    super(...args);
    this.critic = this.data.critic;
    this.groups = [this.policy, this.critic];
    this.walkers = new Walkers(this.lake, this.options.walkers, this.data.draws);
  }

  copy(policy) {
    const critic = this.critic.clone();
    return Object.assign(super.copy(policy), { critic, groups: [policy, critic], walkers: this.walkers.copy() });
  }

  rollOut() {
    const { beta, segment, lam } = this.options;
    const width = this.lake.actions;
    const table = this.policy.logTable();
    const value = this.critic.forward(this.every).logits;
    this.steps = [];
    for (const row of this.walkers.walk(table.map(Math.exp), segment)) {
      const places = row.map(({ state, action }) => state * width + action);
      const reward = row.map((step, t) => step.reward - beta * (table[places[t]] - this.reference[places[t]])
        + (step.truncated ? this.lake.discount * value[step.next] : 0)); // a time limit truncates: bootstrap
      const onward = row.map((step) => (step.terminated || step.truncated ? 0 : this.lake.discount));
      const values = [...row.map((step) => value[step.state]), value[row[row.length - 1].next]];
      const advantage = generalizedAdvantage(reward, values, onward, lam);
      row.forEach((step, t) => this.steps.push({
        state: step.state, action: step.action, logp: table[places[t]], value: values[t], advantage: advantage[t],
        target: advantage[t] + values[t],
      }));
    }
    const mean = this.steps.reduce((sum, step) => sum + step.advantage, 0) / this.steps.length;
    const square = this.steps.reduce((sum, step) => sum + (step.advantage - mean) ** 2, 0);
    const deviation = Math.sqrt(square / Math.max(1, this.steps.length - 1));
    for (const step of this.steps) step.advantage = (step.advantage - mean) / (deviation + SCALE_FLOOR);
  }

  learn() {
    const { clip, entropy } = this.options;
    const width = this.lake.actions;
    const pass = this.policy.forward(this.every);
    const table = logSoftmax(pass.logits, width);
    const judged = this.critic.forward(this.every);
    const [slope, criticSlope] = [new Float64Array(pass.logits.length), new Float64Array(judged.logits.length)];
    const share = 1 / this.steps.length;
    let loss = 0;
    for (const { state, action, logp, value, advantage, target } of this.steps) {
      const surrogate = ppoClipLoss(table[state * width + action], logp, advantage, clip);
      const critic = valueLoss(judged.logits[state], value, target, clip);
      pushLogits(slope, table, state, width, action, share * surrogate.gradient);
      criticSlope[state] += share * critic.gradient;
      loss += share * (surrogate.value + critic.value) + this.entropyTerm(slope, table, state, share * entropy);
    }
    this.policy.backward(pass, slope);
    this.critic.backward(judged, criticSlope);
    return loss;
  }
}

// A(s, a) and d(s) of the policy itself instead of samples: exact advantages of the return with its price of KL, weighted by
// discounted visits; else as above. It approaches the soft-optimal policy for beta (but for the entropy's small weight).
export class ExactPPO extends OnPolicy {
  static defaults = { ...PPO_DEFAULTS, entropy: 0 };

  rollOut() {
    const { lake } = this;
    const width = lake.actions;
    this.old = this.policy.logTable();
    const policy = this.old.map(Math.exp);
    const price = this.old.map((logp, i) => this.options.beta * (logp - this.reference[i]));
    const free = backup(lake, new Float64Array(lake.states)); // r(s, a)
    const value = evaluatePolicy(lake, policy, free.map((r, i) => r - price[i]));
    this.advantage = backup(lake, value).map((q, i) => q - price[i] - value[Math.floor(i / width)]);
    const visits = discountedVisits(lake, policy);
    const total = lake.walkable.reduce((sum, s) => sum + visits[s], 0);
    this.weight = visits.map((d, s) => (lake.terminal[s] ? 0 : d / total));
    let square = 0;
    this.advantage.forEach((a, i) => (square += this.weight[Math.floor(i / width)] * policy[i] * a * a));
    this.advantage = this.advantage.map((a) => a / (Math.sqrt(square) + SCALE_FLOOR));
  }

  learn() {
    const width = this.lake.actions;
    const pass = this.policy.forward(this.every);
    const table = logSoftmax(pass.logits, width);
    const slope = new Float64Array(table.length);
    let loss = 0;
    for (const s of this.lake.walkable) {
      for (let a = 0, i = s * width; a < width; a++, i++) {
        const share = this.weight[s] * Math.exp(this.old[i]);
        if (share === 0) continue;
        const surrogate = ppoClipLoss(table[i], this.old[i], this.advantage[i], this.options.clip);
        pushLogits(slope, table, s, width, a, share * surrogate.gradient);
        loss += share * surrogate.value;
      }
      loss += this.entropyTerm(slope, table, s, this.weight[s] * this.options.entropy);
    }
    this.policy.backward(pass, slope);
    return loss;
  }
}

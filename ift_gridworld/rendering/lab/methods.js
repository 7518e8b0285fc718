// The methods: how a batch of data becomes a gradient. Each has `step()`, which adds the gradient of one update to the policy's
// (and the critic's) and returns the loss; `training.js` moves the parameters.

import { Inputs, logSoftmax, pushLogits } from "./policy.js";
import * as losses from "./losses.js";

const TIE_TOLERANCE = 1e-5; // nats: actions that are liked equally to within rounding; the first is predicted

// Answers as steps of which equal ones are run once: distinct states, and for each step which of them it is.
class Batch {
  constructor(answers) {
    this.answers = answers;
    const states = [...new Set(answers.flatMap((answer) => answer.states))];
    const place = new Map(states.map((state, i) => [state, i]));
    this.inputs = Inputs.states(states);
    this.index = answers.map((answer) => answer.states.map((state) => place.get(state)));
  }

  // log π of each step of each answer.
  score(policy) {
    const pass = policy.forward(this.inputs);
    return new Scored(policy, this, pass, this.index);
  }
}

// Answers under a policy, and the way back from ∂loss/∂log π of their steps to the parameters.
class Scored {
  constructor(policy, batch, pass, index) {
    Object.assign(this, { policy, batch, pass, index });
    this.table = logSoftmax(pass.logits, policy.outputs);
    this.logp = batch.answers.map((answer, b) =>
      Float64Array.from(answer.actions, (action, t) => this.table[index[b][t] * policy.outputs + action]));
    this.slope = new Float64Array(pass.logits.length);
  }

  get sums() {
    return this.logp.map((row) => row.reduce((sum, x) => sum + x, 0));
  }

  // gradient(b, t) = ∂loss/∂log π of step t of answer b.
  push(gradient) {
    this.pulls = this.batch.answers.map((answer, b) => answer.actions.map((_, t) => -gradient(b, t)));
    this.batch.answers.forEach((answer, b) => answer.actions.forEach((action, t) =>
      pushLogits(this.slope, this.table, this.index[b][t], this.policy.outputs, action, gradient(b, t))));
  }

  // Σ_t KL(π_ref(.|s_t) || π(.|s_t)) of each answer; `reference` is the same batch's table under the reference.
  kl(reference) {
    const width = this.policy.outputs;
    return this.index.map((row) => row.reduce((sum, place) => {
      let nats = 0;
      for (let i = place * width; i < (place + 1) * width; i++) {
        if (reference[i] > -Infinity) nats += Math.exp(reference[i]) * (reference[i] - this.table[i]);
      }
      return sum + nats;
    }, 0));
  }

  // gradient(b) = ∂loss/∂KL of answer b.
  pushKL(reference, gradient) {
    const width = this.policy.outputs;
    this.index.forEach((row, b) => {
      const g = gradient(b);
      if (g === 0) return;
      for (const place of row) {
        for (let i = place * width; i < (place + 1) * width; i++) this.slope[i] += g * (Math.exp(this.table[i]) - Math.exp(reference[i]));
      }
    });
  }

  backward() {
    this.policy.backward(this.pass, this.slope);
  }
}

// Applies a loss of one answer to each and pushes the mean's gradient back; returns the mean.
function meanOverAnswers(scored, loss) {
  const parts = scored.logp.map((logp) => loss(logp, new Uint8Array(logp.length).fill(1)));
  scored.push((b, t) => parts[b].gradient[t] / parts.length);
  scored.backward();
  return parts.reduce((sum, part) => sum + part.value, 0) / parts.length;
}

export class Method {
  constructor(lake, policy, data, options = {}) {
    Object.assign(this, { lake, policy, data, options: { ...this.constructor.defaults, ...options } });
    this.groups = [policy];
    this.maxNorm = null;
  }

  // The same method on another policy of the same parameters; data and what is computed once are shared.
  copy(policy) {
    return Object.assign(Object.create(Object.getPrototypeOf(this)), this, { policy, groups: [policy] });
  }
}

export class SFT extends Method {
  static defaults = {};

  step() {
    this.batch ??= new Batch(this.data.demonstrations);
    this.scored = { demonstrations: this.batch.score(this.policy) };
    return meanOverAnswers(this.scored.demonstrations, losses.sftLoss);
  }
}

// Mixes the state that the model's own prediction leads to into each state (λ), and lets early steps answer for later ones (γ).
export class IFT extends Method {
  static defaults = {
    mixing: 0.2, decay: 0.95, propagation: "released", norm: "L1", detach: false, prediction: "greedy", outcome: "expected",
  };

  step() {
    this.scored = { demonstrations: this.secondPass() };
    return meanOverAnswers(this.scored.demonstrations, (logp, mask) => losses.iftLoss(logp, mask, this.options));
  }

  // The answers from their mixed states; equal pairs of a state and the one before it are run once.
  secondPass() {
    const { demonstrations } = this.data;
    this.batch ??= new Batch(demonstrations);
    this.windows ??= windowsOf(demonstrations);
    const predicted = this.predictions();
    const width = 1 + Math.max(0, ...[...predicted.values()].map((states) => states.length));
    const inputs = new Inputs(this.windows.pairs.length, width);
    this.windows.pairs.forEach(([before, state], i) => {
      const mixed = before < 0 || this.options.mixing === 0 ? [] : predicted.get(before);
      inputs.state[i * width] = state;
      inputs.weight[i * width] = mixed.length ? 1 - this.options.mixing : 1;
      mixed.forEach(([next, weight], k) => {
        inputs.state[i * width + k + 1] = next;
        inputs.weight[i * width + k + 1] = this.options.mixing * weight;
      });
    });
    return new Scored(this.policy, this.batch, this.policy.forward(inputs), this.windows.index);
  }

  // From each state of the demonstrations: the states that the prediction leads to, with their weights. No gradient.
  predictions() {
    const states = [...new Set(this.data.demonstrations.flatMap((answer) => answer.states))];
    const { logits } = this.policy.forward(Inputs.states(states));
    const width = this.lake.actions;
    const chances = logSoftmax(logits, width).map(Math.exp);
    return new Map(states.map((state, i) => {
      const row = this.options.prediction === "greedy"
        ? oneHot(greedyAction(logits, i * width, width), width) : chances.subarray(i * width, (i + 1) * width);
      return [state, this.reachedFrom(state, row)];
    }));
  }

  reachedFrom(state, chances) {
    const reached = new Map();
    chances.forEach((p, action) => {
      if (p === 0) return;
      for (const [next, q] of outcomesOf(this.lake, state, action, this.options.outcome)) {
        reached.set(next, (reached.get(next) ?? 0) + p * q);
      }
    });
    return [...reached];
  }
}

// Where an action leads, with probabilities; or its likeliest tile alone, the first of equals.
function outcomesOf(lake, state, action, outcome) {
  const reached = new Map();
  lake.outcomes(state, action, (next, p) => reached.set(next, (reached.get(next) ?? 0) + p));
  if (outcome === "expected") return [...reached];
  const likeliest = [...reached].reduce((a, b) => (b[1] > a[1] || (b[1] === a[1] && b[0] < a[0]) ? b : a));
  return [[likeliest[0], 1]];
}

const oneHot = (place, width) => Float64Array.from({ length: width }, (_, i) => (i === place ? 1 : 0));

// The action of highest logit; of those that are highest to within the tolerance, the first.
function greedyAction(logits, first, width) {
  let best = -Infinity;
  for (let a = 0; a < width; a++) best = Math.max(best, logits[first + a]);
  for (let a = 0; a < width; a++) if (logits[first + a] >= best - TIE_TOLERANCE) return a;
  return 0;
}

// Distinct pairs [state before or -1, state], and for each step which of them it is.
function windowsOf(answers) {
  const [pairs, place] = [[], new Map()];
  const index = answers.map(({ states }) => states.map((state, t) => {
    const key = `${t ? states[t - 1] : -1} ${state}`;
    if (!place.has(key)) {
      place.set(key, pairs.length);
      pairs.push([t ? states[t - 1] : -1, state]);
    }
    return place.get(key);
  }));
  return { pairs, index };
}

// What methods that learn from pairs share: both answers scored, a loss of their sums or means.
class PairMethod extends Method {
  constructor(...args) {
    super(...args);
    const { chosen, rejected } = this.data;
    if (!chosen.length || chosen.length !== rejected.length) throw new RangeError("this lake has no pair to learn from");
    this.sides = [new Batch(chosen), new Batch(rejected)];
    const scored = this.sides.map((side) => side.score(this.policy)); // the policy is the base now
    this.reference = scored.map((side) => side.sums);
    this.referenceTable = scored.map((side) => side.table);
  }

  step() {
    const [chosen, rejected] = this.sides.map((side) => side.score(this.policy));
    this.scored = { chosen, rejected };
    const mean = this.constructor.means;
    const [c, r] = [chosen, rejected].map((side) =>
      side.sums.map((sum, b) => (mean ? sum / side.logp[b].length : sum)));
    const parts = c.map((_, b) => this.pairLoss(c[b], r[b], this.reference[0][b], this.reference[1][b], b));
    const share = (side, b) => 1 / (parts.length * (mean ? side.logp[b].length : 1));
    chosen.push((b) => parts[b].chosen * share(chosen, b));
    rejected.push((b) => parts[b].rejected * share(rejected, b));
    this.pushMore(parts);
    chosen.backward();
    rejected.backward();
    return parts.reduce((sum, part) => sum + part.value, 0) / parts.length;
  }

  pushMore() {} // gradients by other numbers than log-probabilities
}

export class DPO extends PairMethod {
  static defaults = { beta: 0.1, smoothing: 0 };
  pairLoss(c, r, referenceC, referenceR) {
    return losses.dpoLoss(c, r, referenceC, referenceR, this.options);
  }
}

export class TDPO extends PairMethod {
  static defaults = { beta: 0.1, alpha: 0.5, version: 2 };

  pairLoss(c, r, referenceC, referenceR, b) {
    const { chosen, rejected } = this.scored;
    if (b === 0) this.kl = [chosen, rejected].map((side, i) => side.kl(this.referenceTable[i]));
    return losses.tdpoLoss(c - referenceC, r - referenceR, this.kl[0][b], this.kl[1][b], this.options);
  }

  pushMore(parts) {
    const { chosen, rejected } = this.scored;
    chosen.pushKL(this.referenceTable[0], (b) => parts[b].chosenKL / parts.length);
    rejected.pushKL(this.referenceTable[1], (b) => parts[b].rejectedKL / parts.length);
  }
}

export class IPO extends PairMethod {
  static defaults = { beta: 0.1 };
  pairLoss(c, r, referenceC, referenceR) {
    return losses.ipoLoss(c, r, referenceC, referenceR, this.options);
  }
}

export class ORPO extends PairMethod {
  static means = true;
  static defaults = { beta: 0.25 };
  pairLoss(c, r) {
    return losses.orpoLoss(c, r, this.options);
  }
}

export class SimPO extends PairMethod {
  static means = true;
  static defaults = { beta: 2, gamma: 1.6 };
  pairLoss(c, r) {
    return losses.simpoLoss(c, r, this.options);
  }
}



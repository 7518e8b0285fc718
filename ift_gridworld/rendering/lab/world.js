// The world behind the boards: a lake, what the human shows, one base, and the methods that are trained on it, all at one update.

import { titleOf, PREFERENCE } from "./glossary.js";
import { layoutOf } from "./layout.js";
import { Lake } from "./mdp.js";
import { defaultAnswers, pathFromTiles } from "./paths.js";
import { backup, discountedVisits, evaluatePolicy, softOptimal } from "./planning.js";
import { Random } from "./random.js";
import { settingsAt } from "./state.js";
import { Learner, makeBase, measure, referencesOf } from "./training.js";

// Where a logarithmic scale of visits begins; up to how many a linear one says enough.
const [LEAST_VISITS, LINEAR_TO] = [0.01, 3];
const EVERY = 10; // updates between two points of a curve
// Of the page's one beta each method takes a share, so that its default stands where the slider's is.
const BETA = { dpo: 1, tdpo: 1, ipo: 1, orpo: 2.5, simpo: 20, ppo: 0.01, ppo_exact: 0.01 };

export class World {
  // looks: of each method, how charts draw it. saved: probabilities [S A] of the base of a saved run, if the page has one.
  constructor(state, looks, saved = null) {
    this.lake = new Lake(state.rows, { slip: state.slip });
    this.looks = looks;
    this.layout = layoutOf(this.lake);
    const random = new Random(state.seed);
    this.data = defaultAnswers(this.lake, random);
    this.problem = this.#drawn(state);
    const second = this.lake.deterministic ? this.data : defaultAnswers(this.lake, random);
    const suboptimal = second.rejected.length ? second.rejected : this.data.demonstrations;
    const fits = saved?.length === this.lake.states * this.lake.actions;
    if (state.base === "run" && !fits) this.problem ??= "this lake has no saved base; a mixture takes its place";
    this.base = makeBase(state.base === "run" && !fits ? "mixture" : state.base, this.lake, {
      policy: state.policy, seed: state.seed, noise: state.noise, answers: [this.data.demonstrations, suboptimal], saved,
    });
    this.references = referencesOf(this.lake, this.base);
    this.optimum = this.references;
    this.update = 0;
    this.tracks = state.methods.map((name) => this.#track(name, state));
    for (const track of this.tracks) this.#note(track);
  }

  // Puts the paths that the visitor drew in place of the human's; returns what is wrong with them, in words.
  #drawn(state) {
    for (const [name, kinds] of [["demonstration", ["demonstrations", "chosen"]], ["rejected", ["rejected"]]]) {
      if (!state[name]) continue;
      const answer = pathFromTiles(this.lake, state[name]);
      if (answer.problem) return answer.problem;
      for (const kind of kinds) this.data[kind] = [answer];
    }
    if (this.data.chosen.length !== this.data.rejected.length) {
      const count = Math.min(this.data.chosen.length, this.data.rejected.length);
      this.data.chosen = this.data.chosen.slice(0, count);
      this.data.rejected = this.data.rejected.slice(0, count);
    }
    return null;
  }

  #track(name, state) {
    const track = { name, title: titleOf(name), look: this.looks[name], history: [], loss: null, problem: null };
    if (PREFERENCE.includes(name) && !this.data.chosen.length) {
      track.problem = "needs a rejected path: draw one";
      return track;
    }
    track.learner = new Learner(name, this.lake, this.base, this.data, {
      optimiser: state.optimiser, rate: this.#rate(state), seed: state.seed, ...optionsOf(name, state),
    });
    return track;
  }

  // The slider's rate is the network's; a table, whose rows learn alone, takes three times as much.
  #rate(state) {
    return state.rate * (state.policy === "table" ? 3 : 1);
  }

  // Takes over what may change while methods are trained.
  adjust(state) {
    for (const { name, learner } of this.tracks) {
      if (!learner) continue;
      Object.assign(learner.method.options, optionsOf(name, state));
      learner.optimiser.rate = this.#rate(state);
    }
  }

  step() {
    for (const track of this.tracks) {
      if (!track.learner || track.diverged) continue;
      track.loss = track.learner.update();
      if (!Number.isFinite(track.loss)) track.diverged = this.update + 1;
    }
    this.update += 1;
    if (this.update % EVERY === 0) for (const track of this.tracks) this.#note(track);
  }

  // Steps on to an update, or until `until` says so, with the changes that the state has on the way.
  advance(state, update, until = () => false) {
    while (this.update < update && !until()) {
      this.adjust(settingsAt(state, this.update));
      this.step();
    }
  }

  // The policy [S A] of a track now.
  policyOf(track) {
    return (track.learner?.policy ?? this.base).distribution();
  }

  measured(track) {
    if (track.measuredAt !== this.update || !track.now) {
      const policy = this.policyOf(track);
      track.policy = policy;
      track.now = measure(this.lake, policy, this.references, this.data);
      track.now.discountedKL = this.discountedKL(policy);
      track.measuredAt = this.update;
    }
    return track.now;
  }

  #note(track) {
    const { success, regret, distance, kl, chosen, rejected, discountedKL, return: reached } = this.measured(track);
    track.history.push({ update: this.update, success, regret, distance, kl, chosen, rejected, discountedKL, return: reached });
  }

  // Expected KL from the base along an episode, discounted as its reward is.
  discountedKL(policy) {
    const visits = discountedVisits(this.lake, policy);
    const width = this.lake.actions;
    let total = 0;
    for (const s of this.lake.walkable) {
      for (let i = s * width; i < (s + 1) * width; i++) {
        if (policy[i] > 0) total += visits[s] * policy[i] * Math.log(policy[i] / this.references.base[i]);
      }
    }
    return total;
  }

  // Return against KL of the policies that are best for each price of KL: nothing lies above this curve.
  get frontier() {
    this.curve ??= [3e3, 1, 0.5, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002, 0.001].map((beta) => {
      const { policy } = softOptimal(this.lake, this.references.base, beta);
      const value = evaluatePolicy(this.lake, policy);
      return { beta, kl: this.discountedKL(policy), return: value.reduce((sum, v, s) => sum + v * this.lake.start[s], 0) };
    });
    return this.curve;
  }

  // A(s, a) of a policy, exact.
  advantages(policy) {
    const value = evaluatePolicy(this.lake, policy);
    return backup(this.lake, value).map((q, i) => q - value[Math.floor(i / this.lake.actions)]);
  }

  // How T(a|s) of every state will change by the next update.
  push(track) {
    if (!track.learner) return new Float64Array(this.lake.states * this.lake.actions);
    const before = this.policyOf(track);
    const copy = track.learner.copy();
    copy.update();
    return copy.policy.distribution().map((p, i) => p - before[i]);
  }

  // ---- what the boards show ----

  seen(track) {
    const { value, visits } = this.measured(track);
    return { policy: track.policy, base: this.references.base, value, visits };
  }

  get scales() {
    const visits = Math.max(...this.tracks.map((track) => Math.max(...this.measured(track).visits)));
    const best = Math.max(...this.references.value) || 1;
    return {
      visits: { ...visitScale(visits), unit: "visits an episode" },
      value: { low: 0, high: best, log: false, ticks: [0, best / 2, best], below: false, unit: "value: return from there, discounted by 0.99 a step" },
    };
  }

  // What follows each action, for agents that walk: `ends` is 1 where the episode ends, 2 at the goal.
  get dynamics() {
    const { slots, next, probability, reward, terminated, letters, horizon } = this.lake;
    this.ends ??= terminated.map((ends, i) => (ends && letters[next[i]] === "G" ? 2 : ends));
    return { slots, next, chance: probability, reward, ends: this.ends, horizon };
  }

  shown() {
    return tilesOf(this.data.demonstrations[0]);
  }

  rejected(track) {
    return PREFERENCE.includes(track.name) ? tilesOf(this.data.rejected[0]) : [];
  }

  // IFT's predictions at the steps of the first demonstration: [right tile, predicted tile, weight].
  predictions({ name, learner }) {
    if (name !== "ift" || !learner || !(learner.method.options.mixing > 0)) return [];
    const reached = learner.method.predictions();
    const { states } = this.data.demonstrations[0];
    const drawn = new Map(); // of equal ones the heaviest
    states.slice(1).forEach((right, t) => reached.get(states[t]).forEach(([to, weight]) => {
      const key = `${weight > 0.99 ? right : to} ${to}`; // a spread of tiles is not tied to the right one
      if (!(drawn.get(key)?.[2] >= weight)) drawn.set(key, [weight > 0.99 ? right : to, to, weight]);
    }));
    return [...drawn.values()];
  }
}

// A scale that ends at or above the most visits: linear where that says enough, else logarithmic as the package's `VisitScale`.
function visitScale(most) {
  if (most <= LINEAR_TO) return { low: 0, high: Math.max(1, most), log: false, ticks: most > 1.3 ? [0, 1, most] : [0, 0.5, 1], below: false };
  const power = 10 ** Math.floor(Math.log10(most));
  const high = [1, 2, 5, 10].map((step) => step * power).find((end) => end >= most * (1 - 1e-9));
  const ticks = [0.01, 0.1, 1, 10, 100, 1000].filter((tick) => tick < high / 3);
  return { low: LEAST_VISITS, high, log: true, ticks: [...ticks, high], below: true };
}

// An answer as tiles, with the one that it leads to.
const tilesOf = (answer) => (answer ? [...answer.states, answer.reached] : []);

function optionsOf(name, state) {
  if (name === "ift") {
    const { mixing, decay, propagation, norm, prediction } = state;
    return { mixing, decay, propagation, norm, prediction };
  }
  if (!(name in BETA)) return {};
  const beta = state.beta * BETA[name];
  return name === "dpo" ? { beta, smoothing: state.smoothing } : { beta };
}

// Saved runs as something to look at: their methods side by side, all at one update. It offers what `World` offers.

import { Layout } from "./layout.js";

const MOST_CELLS = 24000; // of all boards together: as many as a browser redraws without effort
const AT_FIRST = 4; // methods

export class Replay {
  constructor(runs) {
    const { lake } = runs;
    Object.assign(this, { runs, seed: 0, index: 0 });
    this.layout = new Layout({
      rows: lake.layout, states: lake.states, place: lake.place, open: lake.open.map((share) => (share > 0.5 ? 1 : 0)), words: lake.words,
      actions: lake.actions, moves: lake.moves, first: lake.start, names: lake.names, walls: lake.walls, marks: lake.marks,
      headings: lake.headings,
    });
    this.dynamics = {
      slots: lake.outcomes, next: lake.next, chance: lake.chance, reward: lake.reward, ends: lake.ends.map(Math.round), horizon: lake.horizon,
    };
    this.optimum = { policy: lake.best, value: lake.value };
    this.all = runs.methods;
    this.first = this.#atFirst(); // the methods that are shown where none were chosen
    this.chosen = this.first;
  }

  // Where the reader can be: the same runs at another update, for a film.
  copy() {
    return Object.assign(Object.create(Replay.prototype), this);
  }

  get most() {
    return Math.max(1, Math.min(this.all.length, Math.floor(MOST_CELLS / this.layout.standing.size)));
  }

  // Of each kind, which a hue stands for, one before a second.
  #atFirst() {
    const hues = this.all.map((track) => track.look.hue);
    const every = hues.map((_, i) => i);
    const firsts = every.filter((i) => hues.indexOf(hues[i]) === i);
    const chosen = [...firsts, ...every.filter((i) => !firsts.includes(i))].slice(0, Math.min(AT_FIRST, this.most));
    return chosen.sort((one, other) => one - other);
  }

  // Shows these methods, as many of the last as there is room for.
  choose(methods) {
    this.chosen = methods.slice(-this.most).sort((one, other) => one - other);
  }

  // A method joins the others or leaves them; one stays.
  toggle(which) {
    const without = this.chosen.filter((other) => other !== which);
    const chosen = without.length < this.chosen.length ? without : [...without, which];
    if (chosen.length > this.most) chosen.shift();
    if (chosen.length) this.choose(chosen);
  }

  get update() {
    return this.runs.updates[this.index];
  }

  get tracks() {
    return this.chosen.map((i) => this.all[i]);
  }

  get seedName() {
    return this.all[0].maps[this.seed].seed;
  }

  get end() {
    return this.runs.updates.length - 1;
  }

  go(index) {
    this.index = Math.max(0, Math.min(this.end, index));
  }

  // To the last update that has maps and does not lie behind this one.
  advance(state, update) {
    this.go(this.runs.updates.findLastIndex((other) => other <= update));
  }

  // Which of a method's tables is shown, and where that lies on its curves.
  place(track) {
    return track.at[this.index];
  }

  now(track) {
    return track.kept[this.place(track)];
  }

  seen(track) {
    const { policy, value, visits } = track.maps[this.seed];
    const [k, states, size] = [this.place(track), this.layout.states, this.layout.states * this.layout.actions.length];
    return {
      policy: policy.subarray(k * size, (k + 1) * size), base: policy.subarray(0, size),
      value: value.subarray(k * states, (k + 1) * states), visits: visits.subarray(k * states, (k + 1) * states),
    };
  }

  // Probabilities [S A] that the first method's run began with.
  get base() {
    return this.seen(this.all[0]).base;
  }

  get scales() {
    return { visits: this.runs.visits, value: this.runs.values };
  }

  shown(track) {
    return track.shown.map(([state]) => state);
  }

  rejected(track) {
    return track.rejected.map(([state]) => state);
  }

  // Of each step of the demonstration but the first: { step, right, weights: Map of predicted state to weight }.
  predicted(track) {
    if (!track.mixing) return [];
    const [steps, slots, k] = [track.predicted.length, track.predicted[0].length, this.place(track)];
    return track.predicted.map((states, n) => {
      const weights = new Map();
      states.forEach((s, i) => {
        const weight = track.maps[this.seed].weights[(k * steps + n) * slots + i];
        if (weight > 0.005) weights.set(s, (weights.get(s) ?? 0) + weight);
      });
      return { step: n + 1, right: track.shown[n + 1][0], weights };
    });
  }

  predictions(track) {
    return this.predicted(track).flatMap(({ right, weights }) => [...weights].map(([to, weight]) => [right, to, weight]));
  }

  // A method stands at its last snapshot until the update, which may be an earlier one.
  age(track) {
    const [last, step] = [track.steps[track.steps.length - 1], track.steps[this.now(track)]];
    if (last < this.update) return `ended at ${last}`;
    return step < this.update ? `map of update ${step}` : "";
  }

  // A number of the seed that is shown.
  drawn(track, name) {
    return track.curves[name].drawn[this.seed][this.now(track)];
  }
}

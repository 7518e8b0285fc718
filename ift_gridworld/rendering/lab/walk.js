// Agents that walk by the policies. All boards share their random numbers: where two policies agree, so do their agents.

import { plain } from "./charts.js";
import { pick, Random } from "./random.js";

// Milliseconds a step, of the first few and of those after them; steps of an episode without a time limit.
const [SLOW, FAST, FEW, LIMIT] = [220, 40, 25, 200];
const SEED = 9000; // of the first agent; each drop has numbers of its own

export class Walks {
  // told(): called after each step.
  constructor(told) {
    Object.assign(this, { told, walks: [], drops: 0, timer: 0 });
  }

  get over() {
    return this.walks.every((walk) => walk.over);
  }

  stop() {
    clearTimeout(this.timer);
    this.walks = [];
    this.told();
  }

  // An agent on each board of the world, from a state on.
  drop(world, state) {
    clearTimeout(this.timer);
    this.random = new Random(SEED + this.drops++);
    this.walks = world.tracks.map((track) => ({ track, path: [state], reward: 0, over: "" }));
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) while (!this.over) this.#tread(world);
    else this.#stroll(world);
    this.told();
  }

  #stroll(world) {
    this.#tread(world);
    this.told();
    const steps = Math.max(...this.walks.map((walk) => walk.path.length));
    if (!this.over) this.timer = setTimeout(() => this.#stroll(world), steps < FEW ? SLOW : FAST);
  }

  // One step of every agent, on the same two random numbers.
  #tread(world) {
    const { layout, dynamics } = world;
    const { slots, next, chance, reward, ends } = dynamics;
    const [forAction, forOutcome, actions] = [this.random.uniform(), this.random.uniform(), layout.actions.length];
    for (const walk of this.walks) {
      const here = walk.path[walk.path.length - 1];
      if (walk.over) continue;
      const action = pick(world.seen(walk.track).policy, here * actions, actions, forAction);
      const first = (here * actions + action) * slots;
      const outcome = first + pick(chance, first, slots, forOutcome);
      walk.path.push(next[outcome]);
      walk.reward += reward[outcome];
      if (ends[outcome] > 1) walk.over = "reached the goal";
      else if (ends[outcome] > 0) walk.over = `ended ${layout.endingOf(next[outcome])}`;
      else if (walk.path.length > (dynamics.horizon || LIMIT)) walk.over = "ran out of time";
    }
  }

  // What an agent has come to, in words.
  wordsOf({ path, reward, over }) {
    const steps = path.length - 1;
    return over ? `${over} after ${steps} step${steps === 1 ? "" : "s"}, reward ${plain(reward)}` : "walking …";
  }
}

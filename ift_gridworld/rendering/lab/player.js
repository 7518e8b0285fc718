// Playing: each frame of the screen, a live world is trained on for as long as there is time, and saved runs go on at their pace.

import { RANGES } from "./state.js";

const PACE = 110; // milliseconds between two updates of a saved run
const BUDGET = 10; // milliseconds of training a frame

export class Player {
  constructor(app) {
    Object.assign(this, { app, playing: false, until: null, fraction: 0, last: null });
    requestAnimationFrame((time) => this.#frame(time));
  }

  // until: the update of a live world at which `arrived` is called; none for the last one.
  play(on, until = null, arrived = null) {
    const { app } = this;
    if (on && app.isReplay && app.replay.index >= app.replay.end) app.replay.go(0);
    const playing = on && (app.isReplay || app.world.update < RANGES.update[1]);
    Object.assign(this, { playing, until, arrived, last: null, fraction: 0 });
    app.showPlaying(playing);
    if (!on && app.world) app.changed();
  }

  #frame(time) {
    const { app } = this;
    if (this.playing && app.isReplay) this.#replay(time);
    else if (this.playing) this.#train(time);
    if (app.dirty) app.display.draw();
    requestAnimationFrame((next) => this.#frame(next));
  }

  #replay(time) {
    const { replay } = this.app;
    this.last ??= time;
    if (time - this.last < PACE) return;
    this.last = time;
    if (replay.index >= replay.end) return this.play(false);
    replay.go(replay.index + 1);
    this.app.dirty = true;
  }

  #train(time) {
    const { world, state } = this.app;
    const passed = Math.min(100, time - (this.last ?? time));
    this.last = time;
    this.fraction += (state.speed * passed) / 1000;
    const last = Math.min(RANGES.update[1], this.until ?? Infinity);
    const wanted = Math.min(last, world.update + Math.floor(this.fraction));
    this.fraction %= 1;
    const end = performance.now() + BUDGET;
    if (wanted > world.update) {
      world.advance(state, wanted, () => performance.now() > end);
      this.app.dirty = true;
    }
    if (world.update < last) return;
    const { arrived } = this;
    this.play(false);
    arrived?.();
  }
}

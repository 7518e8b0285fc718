// The guide through the tour: asks, lets the visitor guess, plays, and answers.

import { STOPS } from "./tour.js";

const $ = (id) => document.getElementById(id);

export class Tour {
  constructor(app) {
    Object.assign(this, { app, guess: null });
    $("tour").onclick = () => this.go(0);
    $("leave").onclick = () => this.leave();
    $("previous").onclick = () => this.go(app.state.stop - 1);
    $("next").onclick = () => (app.state.stop + 1 < STOPS.length ? this.go(app.state.stop + 1) : this.leave());
  }

  go(stop) {
    const { app } = this;
    app.play(false);
    const { theme, speed } = app.state;
    app.state = { ...structuredClone(STOPS[stop].state), theme, speed, stop, view: "live" };
    app.tool = "look";
    app.build(0);
    this.show();
    $("stop").scrollIntoView({ block: "nearest" });
    $("question").focus({ preventScroll: true });
  }

  leave() {
    this.app.set("stop", null);
    this.show();
    $("tour").focus();
  }

  // The panel of the stop that the state says.
  show() {
    const { stop } = this.app.state;
    $("stop").hidden = stop === null;
    if (stop === null) return;
    const { title, question, guesses } = STOPS[stop];
    $("stop-title").textContent = `${stop + 1} of ${STOPS.length}: ${title}`;
    $("question").textContent = question;
    $("answer").textContent = "";
    $("previous").disabled = stop === 0;
    $("next").textContent = stop + 1 < STOPS.length ? "Next" : "End of the tour";
    $("guesses").replaceChildren(...guesses.map((guess) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = guess;
      button.onclick = () => this.play(guess, button);
      return button;
    }));
  }

  play(guess, button) {
    const { app } = this;
    for (const other of $("guesses").children) other.setAttribute("aria-pressed", other === button);
    this.guess = guess;
    $("answer").textContent = `You guess: ${guess}. Watch …`;
    app.restart({});
    app.player.play(true, STOPS[app.state.stop].updates, () => this.answer());
  }

  answer() {
    const { stop } = this.app.state;
    if (stop === null) return;
    $("answer").textContent = STOPS[stop].answer(this.app.world);
  }
}

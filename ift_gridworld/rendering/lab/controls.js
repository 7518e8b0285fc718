// The panel of controls, made from a list of what each setting is.

import { METHODS_IN_WORDS, TERMS } from "./glossary.js";
import { CHOICES, MOST_METHODS, PRESETS, RANGES } from "./state.js";

// kind, setting, label, term, and what the kind needs
const PANEL = [
  ["The lake", "live", [
    ["preset"], ["size"],
    ["range", "slip", "slip", "slip", 1 / 30],
    ["tools"],
  ]],
  ["The policy", "live", [
    ["choice", "policy", "policy", "policy"], ["choice", "base", "base", "base"],
    ["range", "noise", "noise of the base", "noise", 0.05], ["whole", "seed", "seed", "seed"],
  ]],
  ["The methods", "live", [
    ["methods"],
    ["range", "mixing", "λ, IFT's mixing", "lambda", 0.05], ["range", "decay", "γ, IFT's decay", "gamma", 0.05],
    ["choice", "propagation", "propagation", "propagation"], ["choice", "norm", "norm", "norm"],
    ["choice", "prediction", "prediction", "prediction"],
    ["log", "beta", "β, price of KL", "beta"], ["range", "smoothing", "ε, DPO's label smoothing", "smoothing", 0.05],
    ["log", "rate", "learning rate", "rate"],
    ["choice", "optimiser", "optimiser", "optimiser"],
  ]],
  ["On the boards", "", [["choice", "colour", "colour", "visits"], ["choice", "arrows", "arrows", "policy"], ["check", "predictions", "IFT's predictions"]]],
];
const NAMES = {
  base: { run: "the saved run's" },
  colour: { visits: "visits", value: "value", change: "change since the base", none: "none" },
  arrows: {
    policy: "policy", optimal: "T*, the optimal policy", change: "change since the base", push: "push of the next update",
    advantage: "advantage",
  },
};
const ABOUT = { colour: { value: "value", change: "change" }, arrows: { optimal: "optimal", change: "change", push: "push", advantage: "advantage" } };
const TOOLS = [["look", "look"], ["tile", "change tiles"], ["demonstration", "draw the demonstration"], ["rejected", "draw the rejected path"]];

const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made[key] = value;
    else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
};

// A word with its definition, shown on hover, focus or tap.
export function term(text, name) {
  return element("button", { type: "button", class: "term", "data-term": name, "aria-label": `${text}: what is this?` }, "?");
}

export class Controls {
  // set(name, value) changes a setting; tool(name) chooses what a click on a board does.
  constructor(panel, handlers) {
    Object.assign(this, { panel, handlers, fields: {} });
    panel.append(...PANEL.map(([title, only, rows]) => element("section", { "data-only": only || null },
      element("h2", {}, title), ...rows.map((row) => this[`_${row[0]}`](...row.slice(1))))));
  }

  _labelled(name, label, about, field, output = "") {
    field.id = `set-${name}`;
    this.fields[name] = field;
    return element("div", { class: "field" },
      element("label", { for: field.id }, label), about ? term(label, about) : "", output, field);
  }

  _range(name, label, about, step) {
    return this.#slider(name, label, about, { min: RANGES[name][0], max: RANGES[name][1], step }, (x) => x, (x) => x);
  }

  // Along powers of ten.
  _log(name, label, about) {
    const [low, high] = RANGES[name].map(Math.log10);
    return this.#slider(name, label, about, { min: low, max: high, step: 0.05 },
      (x) => Number((10 ** x).toPrecision(2)), (x) => Math.log10(x));
  }

  #slider(name, label, about, attributes, read, write) {
    const output = element("output", { for: `set-${name}` });
    const input = element("input", { type: "range", ...attributes });
    input.oninput = () => this.handlers.set(name, Number(read(Number(input.value)).toPrecision(6)));
    input.show = (value) => {
      input.value = write(value);
      output.textContent = String(Number(value.toPrecision(3)));
      input.setAttribute("aria-valuetext", output.textContent);
    };
    return this._labelled(name, label, about, input, output);
  }

  _choice(name, label, about) {
    const select = element("select", {}, ...CHOICES[name].map((value) =>
      element("option", { value }, NAMES[name]?.[value] ?? value)));
    select.onchange = () => this.handlers.set(name, select.value);
    select.show = (value) => {
      select.value = value;
      const button = select.parentElement.querySelector(".term");
      if (button && ABOUT[name]) button.dataset.term = ABOUT[name][value] ?? about;
    };
    return this._labelled(name, label, about, select);
  }

  _check(name, label) {
    const input = element("input", { type: "checkbox" });
    input.onchange = () => this.handlers.set(name, input.checked);
    input.show = (value) => (input.checked = value);
    return this._labelled(name, label, null, input);
  }

  _whole(name, label, about) {
    const input = element("input", { type: "number", min: RANGES[name][0], max: RANGES[name][1], step: 1, inputmode: "numeric" });
    input.onchange = () => this.handlers.set(name, Math.round(Math.min(RANGES[name][1], Math.max(RANGES[name][0], Number(input.value) || 0))));
    input.show = (value) => (input.value = value);
    return this._labelled(name, label, about, input);
  }

  _preset() {
    const select = element("select", {}, ...[...Object.keys(PRESETS), "own"].map((value) => element("option", { value }, value === "own" ? "your own" : value)));
    select.onchange = () => (select.value === "own" ? this.handlers.tool("tile") : this.handlers.set("rows", PRESETS[select.value]));
    select.show = (state) => (select.value = Object.keys(PRESETS).find((name) => PRESETS[name].join() === state.rows.join()) ?? "own");
    return this._labelled("preset", "map", null, select);
  }

  _size() {
    const sides = ["rows", "columns"].map((name) => {
      const input = element("input", { type: "number", min: 2, max: 12, "aria-label": `number of ${name}`, inputmode: "numeric" });
      input.onchange = () => this.handlers.resize(...sides.map((side) => Math.min(12, Math.max(2, Math.round(Number(side.value)) || 2))));
      return input;
    });
    this.sides = sides;
    return element("div", { class: "field" }, element("span", { class: "label" }, "size, tiles"), element("span", { class: "pair" }, sides[0], "×", sides[1]));
  }

  _tools() {
    const group = element("div", { class: "tools", role: "radiogroup", "aria-label": "what a click on a board does" });
    for (const [name, label] of TOOLS) {
      const input = element("input", { type: "radio", name: "tool", value: name, id: `tool-${name}` });
      input.onchange = () => this.handlers.tool(name);
      group.append(element("div", { class: "option" }, input, element("label", { for: input.id }, label)));
    }
    this.tools = group;
    const clear = element("button", { type: "button", class: "small", onclick: () => this.handlers.clear() }, "forget drawn paths");
    return element("div", {}, group, clear);
  }

  _methods() {
    const group = element("div", { class: "methods", role: "group", "aria-label": `methods, up to ${MOST_METHODS}` });
    for (const [name, [title, words]] of Object.entries(METHODS_IN_WORDS)) {
      TERMS[`method-${name}`] = words;
      const input = element("input", { type: "checkbox", id: `method-${name}`, value: name });
      input.onchange = () => this.handlers.method(name, input.checked);
      group.append(element("div", { class: "option" }, input, element("label", { for: input.id }, title), term(title, `method-${name}`)));
    }
    this.methods = group;
    return group;
  }

  // Offers what there is: the base of a saved run where the page has one, arrows that need training where methods are trained.
  offer(hasRun, isLive) {
    const option = (name, value) => this.fields[name].querySelector(`[value=${value}]`);
    option("base", "run").hidden = option("base", "run").disabled = !hasRun;
    for (const arrows of ["push", "advantage"]) option("arrows", arrows).disabled = !isLive;
  }

  // Shows a state; `settings` are those that hold now.
  show(state, settings, tool) {
    for (const [name, field] of Object.entries(this.fields)) {
      if (document.activeElement === field && field.type === "number") continue;
      field.show(name === "preset" ? state : settings[name]);
    }
    [state.rows.length, state.rows[0].length].forEach((side, i) => {
      if (document.activeElement !== this.sides[i]) this.sides[i].value = side;
    });
    for (const input of this.methods.querySelectorAll("input")) {
      input.checked = state.methods.includes(input.value);
      input.disabled = !input.checked && state.methods.length >= MOST_METHODS;
    }
    for (const input of this.tools.querySelectorAll("input")) input.checked = input.value === tool;
    this.#dim(state);
  }

  // What no chosen method uses is dimmed.
  #dim(state) {
    const uses = {
      ift: ["mixing", "decay", "propagation", "norm", "prediction"], beta: ["beta"],
    };
    for (const name of uses.ift) this.fields[name].closest(".field").classList.toggle("unused", !state.methods.includes("ift"));
    const priced = state.methods.some((name) => !["sft", "ift"].includes(name));
    this.fields.beta.closest(".field").classList.toggle("unused", !priced);
    this.fields.smoothing.closest(".field").classList.toggle("unused", !state.methods.includes("dpo"));
    this.fields.noise.closest(".field").classList.toggle("unused", state.base !== "mixture");
  }
}

// Shows the definition of the term that is pointed at, focused or tapped.
export function explainTerms(root, tip) {
  let shown = null;
  const show = (button) => {
    shown = button;
    tip.textContent = TERMS[button.dataset.term];
    tip.hidden = false;
    button.setAttribute("aria-describedby", tip.id);
    const box = button.getBoundingClientRect();
    const left = Math.max(8, Math.min(box.left, innerWidth - tip.offsetWidth - 8));
    const below = box.bottom + tip.offsetHeight + 12 < innerHeight;
    tip.style.left = `${left}px`;
    tip.style.top = `${below ? box.bottom + 6 : Math.max(8, box.top - tip.offsetHeight - 6)}px`;
  };
  const hide = () => {
    shown?.removeAttribute("aria-describedby");
    shown = null;
    tip.hidden = true;
  };
  const termOf = (event) => event.target.closest?.("[data-term]");
  root.addEventListener("pointerover", (event) => (termOf(event) ? show(termOf(event)) : event.pointerType === "mouse" && hide()));
  root.addEventListener("focusin", (event) => (termOf(event) ? show(termOf(event)) : hide()));
  root.addEventListener("click", (event) => (termOf(event) ? show(termOf(event)) : hide()));
  root.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  addEventListener("scroll", hide, { passive: true });
}

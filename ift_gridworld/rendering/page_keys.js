// What colours, arrows and marks mean: a key of all that is on the boards.

import { byId, run, lake, shown, state, standing, letter } from "./page_run.js";
import { escaped, brief, stay, diamond, goalBox, MARKS } from "./page_svg.js";
import { scale, share } from "./page_paint.js";

export function keys() {
  const colours = scale(), entries = [];
  const add = (drawing, words, box = "0 0 100 100") =>
    entries.push(`<span><svg viewBox="${box}" aria-hidden="true">${drawing}</svg>${escaped(words)}</span>`);
  const changing = state.colour === "change";
  add(`<path class="arrows" d="M4 42h46v-24l44 32-44 32v-24h-46z"/>`, changing ? "change of the mean move" : "probability of a move");
  if (!changing)
    lake.actions.filter((_, a) => !lake.moves[a][0] && !lake.moves[a][1]).slice(0, 2)
      .forEach((words, nth) => add(`<path class="arrows" d="${stay(50, 50, 1, nth)}"/>`, words));
  const needs = [...new Set(shown().map(m => m.needs))];
  const path = needs.every(kind => kind === "pairs") ? "chosen answer" : needs.includes("pairs") ? "demonstration or chosen answer" : "demonstration";
  add(`<rect class="ice" width="100" height="100"/><rect class="shown" x="12" y="12" width="76" height="76"/>`, path);
  if (shown().some(m => m.rejected.length))
    add(`<rect class="ice" width="100" height="100"/><rect class="rejected" x="12" y="12" width="76" height="76"/>`, "rejected answer");
  const kinds = new Set([...standing.values()].map(letter));
  if (kinds.has("S")) add(`<rect class="ice" width="100" height="100"/><text class="heading" x="50" y="80" text-anchor="middle">S</text>`, "start");
  if (kinds.has("G")) add(`<rect class="ice" width="100" height="100"/><path class="goal" d="${goalBox(0, 0)}"/>`, "goal");
  for (const kind of ["H", "C"])
    if (lake.words[kind]) add(`<rect class="hole" x="6" y="6" width="88" height="88"/><circle class="water" cx="50" cy="50" r="30"/>`, lake.words[kind].join(": "));
  for (const kind of Object.keys(lake.marks)) add(`<path class="mark" d="${MARKS[kind](0, 0)}"/>`, kind);
  const mixing = [...new Set(shown().map(m => m.mixing).filter(Boolean))];
  if (state.predictions && mixing.length)
    add(`<path class="tie" d="M50 50H160"/><path class="prediction" d="${diamond(50, 50, 34)}"/>`,
      `IFT's prediction, mixed in with λ = ${mixing.map(brief).join(", ")}, tied to the true tile`, "0 0 160 100");
  byId("legend").innerHTML = strip(colours) + entries.join("");
}

function strip(colours) {
  const marks = colours.ticks.map((tick, i) => {
    const at = 100 * share(tick, colours), side = at < 1 ? "first" : at > 99 ? "last" : "";
    return `<i class="${side}" style="left:${at.toFixed(1)}%">${i === 0 && colours.below ? "≤ " : ""}${brief(tick)}</i>`;
  });
  return `<span class="scale"><span>${escaped(colours.unit)}</span><span class="strip ${colours.class}"></span><span class="ticks">${marks.join("")}</span></span>`;
}

export function notes() {
  byId("title").textContent = lake.title;
  byId("about").textContent = lake.about;
  byId("left-out").textContent = run.leftOut;
  byId("left-out").hidden = !run.leftOut;
}

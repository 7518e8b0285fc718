// The tile that is looked at: its numbers under each method that is shown.

import { byId, lake, S, A, row, column, open, nameOf, kindOf, effectOf, state, shown, at, tables, probability } from "./page_run.js";
import { escaped, plain, written } from "./page_svg.js";
import { ties, variation } from "./page_paint.js";

export function look(s) {
  if (state.tile === s) return;
  state.tile = s;
  inspect();
}

export function inspect() {
  const s = state.tile;
  for (const b of state.boards) {
    mark(b, s);
    ties(b);
  }
  const heading = `<h2>tile: ${escaped(nameOf(s))}</h2>`;
  byId("tile").innerHTML = heading + (open(s) ? numbers(s) + explained(s) : `<p>${escaped(capital(effectOf(s)))}.</p>`);
}

const capital = words => words[0].toUpperCase() + words.slice(1);

// The frame around it on a board; the cell itself is what the keyboard reaches.
function mark(b, s) {
  const before = b.cells[b.looked], cell = b.cells[s];
  if (before) before.setAttribute("tabindex", -1);
  b.looked = s;
  b.here.setAttribute("visibility", cell ? "visible" : "hidden");
  if (!cell) return;
  b.here.setAttribute("transform", `translate(${100 * column(s)} ${100 * row(s)})`);
  cell.setAttribute("tabindex", 0);
  cell.setAttribute("aria-label", described(b.m, s));
}

function described(m, s) {
  const moves = lake.actions.map((name, a) => `${name} ${probability(m, at(m), s, a).toFixed(2)}`).join(", ");
  return `${nameOf(s)}, ${open(s) ? `${kindOf(s)}: ${moves}` : effectOf(s)}`;
}

function numbers(s) {
  const methods = shown(), columns = methods.map(m => `<th scope="col">${escaped(m.title)}</th>`).join("");
  const cells = (what, get) => methods.map(m => {
    const x = get(m);
    return `<td data-what="${escaped(what)}" data-method="${escaped(m.name)}">${written(x)}</td>`;
  }).join("");
  const line = (what, get, best) => `<tr><th scope="row">${escaped(what)}</th>${cells(what, get)}<td>${best}</td></tr>`;
  const moves = lake.actions.map((name, a) => line(name, m => probability(m, at(m), s, a), written(lake.best[s * A + a])));
  const rest = [
    line("value", m => tables(m).value[at(m) * S + s], written(lake.value[s])),
    line("visits", m => tables(m).visits[at(m) * S + s], ""),
    line("change", m => variation(m, at(m), s), ""),
  ];
  return `<div class="wide" tabindex="0" role="region" aria-label="numbers of the tile"><table><thead><tr><th scope="col">move</th>${columns}<th scope="col">optimal</th></tr></thead>` +
    `<tbody>${moves.join("")}</tbody><tbody>${rest.join("")}</tbody></table></div>`;
}

// What IFT makes of the tile: where it stands instead, or that it is predicted.
function explained(s) {
  const lines = [];
  for (const { m, predicted } of state.boards)
    for (const { step, tile, weights } of predicted) {
      const here = tile === s, there = weights.get(s);
      if (!here && !there) continue;
      const others = [...weights].map(([other, weight]) => `${nameOf(other)}${weight < .995 ? ` (${weight.toFixed(2)})` : ""}`);
      const words = here
        ? `${m.title}, step ${step} of the demonstration: it trains here on ${plain(1 - m.mixing)} of this tile and λ = ${plain(m.mixing)} of its own prediction, ${others.join(", ")}.`
        : `${m.title} predicts this tile at step ${step}, where the demonstration is on ${nameOf(tile)}: weight λ = ${plain(m.mixing)}${there < .995 ? ` × ${there.toFixed(2)}` : ""}.`;
      lines.push({ here, words });
    }
  lines.sort((one, other) => other.here - one.here);
  const most = 2, more = lines.length > most ? [`… and ${lines.length - most} more.`] : [];
  return [...lines.slice(0, most).map(({ words }) => words), ...more].map(words => `<p class="muted">◆ ${escaped(words)}</p>`).join("");
}

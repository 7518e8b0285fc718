// The panel of saved runs: which seed and methods are shown, the tile that is looked at, and what the runs are.

import { drawMarker, written } from "./charts.js";
import { escaped, SvgPen } from "./pen.js";
import { averaged, explained, numbersOf } from "./replay_view.js";

const $ = (id) => document.getElementById(id);
const [WIDE, HIGH] = [34, 14]; // pixels of a line's sample

// A method's marker on its line, as charts draw it; its colour is the page's, which follows the theme.
function sampleOf({ hue, dash, marker }) {
  const pen = new SvgPen(WIDE, HIGH);
  const colour = `var(--method-${hue})`;
  pen.shape([0, HIGH / 2, WIDE, HIGH / 2], { stroke: colour, width: 2.2, dash, closed: false });
  drawMarker(pen, marker, WIDE / 2, HIGH / 2, 5, { fill: colour, stroke: "var(--background)", width: 1 });
  return pen.toString().replace("<svg ", '<svg class="sample" aria-hidden="true" ');
}

export class Panel {
  // handlers: choose(), which is called after the methods or the seed have changed.
  constructor(replay, handlers) {
    Object.assign(this, { replay });
    const { runs, all } = replay;
    $("about").textContent = runs.lake.about;
    $("left-out").textContent = runs.leftOut;
    $("left-out").hidden = !runs.leftOut;
    $("not-live").textContent = runs.notLive;
    $("not-live").hidden = !runs.notLive;
    all.forEach((track, i) => {
      const chip = document.createElement("button");
      Object.assign(chip, { type: "button", className: "chip", title: track.full, innerHTML: `${sampleOf(track.look)}<span>${escaped(track.title)}</span>` });
      chip.onclick = () => {
        replay.toggle(i);
        handlers.choose();
      };
      $("methods").append(chip);
    });
    $("methods").hidden = all.length < 2;
    all[0].maps.forEach(({ seed }, i) => $("seed").add(new Option(seed, i)));
    $("seed").parentElement.hidden = all[0].maps.length < 2;
    $("seed").onchange = () => {
      replay.seed = Number($("seed").value);
      handlers.choose();
    };
    $("step").max = replay.end;
    $("step").oninput = () => handlers.scrub(Number($("step").value));
  }

  // Shows where the reader is, and a tile's numbers; `predictions`: whether IFT's are told.
  show(tile, predictions) {
    const { replay } = this;
    $("step").value = replay.index;
    $("step").setAttribute("aria-valuetext", `update ${replay.update}`);
    $("seed").value = replay.seed;
    [...$("methods").children].forEach((chip, i) => chip.setAttribute("aria-pressed", replay.chosen.includes(i)));
    $("averaged").textContent = averaged(replay);
    const { layout } = replay;
    const effect = layout.effectOf(tile);
    const words = layout.open[tile] ? this.#table(tile, predictions) : `<p>${escaped(effect[0].toUpperCase() + effect.slice(1))}.</p>`;
    const html = `<h2>tile: ${escaped(layout.nameOf(tile))}</h2>${words}`;
    if (html !== this.html) $("tile").innerHTML = this.html = html;
  }

  #table(tile, predictions) {
    const { replay } = this;
    const { tracks } = replay;
    const rows = numbersOf(replay, tile).map(({ what, numbers, best }) => {
      const cells = numbers.map((x, i) => `<td data-what="${escaped(what)}" data-method="${escaped(tracks[i].name)}">${written(x)}</td>`);
      return `<tr><th scope="row">${escaped(what)}</th>${cells.join("")}<td>${best === undefined ? "" : written(best)}</td></tr>`;
    });
    const heads = tracks.map((track) => `<th scope="col">${escaped(track.title)}</th>`).join("");
    const told = predictions ? explained(replay, tile) : [];
    return `<div class="wide" tabindex="0" role="region" aria-label="numbers of the tile"><table><thead><tr><th scope="col">move</th>${heads}<th scope="col">optimal</th></tr></thead>` +
      `<tbody>${rows.slice(0, -3).join("")}</tbody><tbody>${rows.slice(-3).join("")}</tbody></table></div>${told.map((words) => `<p class="told">◆ ${escaped(words)}</p>`).join("")}`;
  }
}

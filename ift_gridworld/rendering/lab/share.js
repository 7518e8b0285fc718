// Taking something away: a link, pictures, a film, the numbers, and the command that trains the same in Python.

import { drawBoard } from "./board.js";
import { SvgPen } from "./pen.js";

const BOARD = 260; // pixels: longer side of a board in a picture
const [GAP, HEAD, MARGIN, CHART] = [28, 44, 24, [330, 220]];

// The boards and the charts as one SVG.
export function pictureOf(world, view, theme, scenes, charts) {
  const { layout } = world;
  const tile = BOARD / Math.max(layout.width, layout.height);
  const [boardWidth, boardHeight] = [tile * layout.width, tile * layout.height];
  const drawn = charts.filter((chart) => chart.draw);
  const perRow = Math.min(scenes.length, 3) || 1;
  const rows = Math.ceil(scenes.length / perRow);
  const width = Math.max(2 * MARGIN + perRow * (Math.max(boardWidth, 190) + GAP) - GAP, 2 * MARGIN + Math.min(2, drawn.length) * (CHART[0] + GAP), 640);
  const chartTop = 2 * MARGIN + 46 + rows * (boardHeight + HEAD + GAP);
  const height = chartTop + Math.ceil(drawn.length / 2) * (CHART[1] + GAP) + 10;
  const pen = new SvgPen(width, height, theme.background);
  pen.text(MARGIN, MARGIN + 8, `update ${world.update}`, { size: 20, weight: 700, fill: theme.ink });
  pen.text(MARGIN, MARGIN + 32, view.sentence(world), { size: 12, fill: theme.muted });
  scenes.forEach((scene, i) => {
    const track = world.tracks[i];
    const [x, y] = [MARGIN + (i % perRow) * (Math.max(boardWidth, 190) + GAP), 2 * MARGIN + 40 + Math.floor(i / perRow) * (boardHeight + HEAD + GAP)];
    pen.text(x, y + 10, track.title, { size: 16, weight: 700, fill: theme.methods[track.look.hue] });
    pen.text(x, y + 30, view.headline(world, track), { size: 12, fill: theme.muted });
    pen.moved(x, y + HEAD, () => drawBoard(pen, scene, tile, theme));
  });
  drawn.forEach((chart, i) => pen.moved(MARGIN + (i % 2) * (CHART[0] + GAP), chartTop + Math.floor(i / 2) * (CHART[1] + GAP), () => chart.draw(pen, ...CHART)));
  return pen.toString();
}

export function csvOf(world) {
  if (world.runs) return savedCsvOf(world);
  const names = ["update", "success", "return", "regret", "distance", "kl", "discountedKL", "chosen", "rejected"];
  const rows = world.tracks.flatMap((track) => track.history.map((point) => [track.name, ...names.map((name) => point[name] ?? "")]));
  return [["method", ...names], ...rows].map((row) => row.join(",")).join("\n") + "\n";
}

// Means over seeds at every update of the curves, with their 95 % intervals.
function savedCsvOf({ tracks, runs }) {
  const names = runs.charts.map(({ name }) => name);
  const head = ["method", "update", ...names.flatMap((name) => [name, `${name}_low`, `${name}_high`])];
  const rows = tracks.flatMap((track) => track.steps.map((step, k) => [track.name, step, ...names.flatMap((name) => {
    const { mean, low, high } = track.curves[name];
    return [mean[k], low[k], high[k]];
  })]));
  return [head, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

const cell = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);

export function download(name, content, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// An SVG as a PNG of twice its size.
export async function pngOf(svg) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [2 * image.width, 2 * image.height];
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

// A WebM film of a canvas: `frame(i)` draws each of `count` frames.
export function filmOf(canvas, count, frame, rate = 25) {
  if (!globalThis.MediaRecorder || !canvas.captureStream) return Promise.reject(new Error("this browser records no films"));
  const recorder = new MediaRecorder(canvas.captureStream(rate), { videoBitsPerSecond: 6e6 });
  const parts = [];
  recorder.ondataavailable = (event) => parts.push(event.data);
  return new Promise((resolve, reject) => {
    recorder.onstop = () => resolve(new Blob(parts, { type: recorder.mimeType }));
    recorder.onerror = () => reject(new Error("the film could not be recorded"));
    recorder.start();
    let i = 0;
    const timer = setInterval(() => {
      if (i >= count) {
        clearInterval(timer);
        recorder.stop();
      } else frame(i++);
    }, 1000 / rate);
  });
}

// Two pens with one hand: pictures are drawn with few strokes, on a canvas while they move, as SVG when they are exported.

const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";

export class CanvasPen {
  constructor(canvas, width, height) {
    const scale = globalThis.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    this.context = canvas.getContext("2d");
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
    this.context.clearRect(0, 0, width, height);
  }

  // points: [x, y, x, y, …]; style: fill, stroke, width, dash, opacity, closed, and part, the name that it has in an SVG
  shape(points, style) {
    const { context } = this;
    context.beginPath();
    context.moveTo(points[0], points[1]);
    for (let i = 2; i < points.length; i += 2) context.lineTo(points[i], points[i + 1]);
    if (style.closed !== false) context.closePath();
    this.#paint(style);
  }

  circle(x, y, radius, style) {
    this.context.beginPath();
    this.context.arc(x, y, radius, 0, 2 * Math.PI);
    this.#paint(style);
  }

  text(x, y, text, { size = 12, fill, weight = 400, align = "left", halo = null }) {
    const { context } = this;
    context.font = `${weight} ${size}px ${FONT}`;
    context.textAlign = align;
    context.textBaseline = "middle";
    if (halo) {
      context.lineWidth = 3;
      context.lineJoin = "round";
      context.strokeStyle = halo;
      context.strokeText(text, x, y);
    }
    context.fillStyle = fill;
    context.fillText(text, x, y);
  }

  #paint({ fill, stroke, width = 1, dash = [], opacity = 1 }) {
    const { context } = this;
    context.globalAlpha = opacity;
    if (fill) {
      context.fillStyle = fill;
      context.fill();
    }
    if (stroke) {
      context.strokeStyle = stroke;
      context.lineWidth = width;
      context.lineJoin = "round";
      context.setLineDash(dash);
      context.stroke();
    }
    context.globalAlpha = 1;
  }
}

// Names are text: what stands in a string of HTML or SVG is escaped.
const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
export const escaped = (text) => String(text).replace(/[&<>"']/g, (c) => ESCAPES[c]);
const rounded = (x) => Number(x.toFixed(2));

export class SvgPen {
  constructor(width, height, background) {
    Object.assign(this, { width, height, parts: [] });
    if (background) this.shape([0, 0, width, 0, width, height, 0, height], { fill: background });
  }

  shape(points, style) {
    const pairs = [];
    for (let i = 0; i < points.length; i += 2) pairs.push(`${rounded(points[i])},${rounded(points[i + 1])}`);
    const name = style.closed === false ? "polyline" : "polygon";
    this.parts.push(`<${name} points="${pairs.join(" ")}"${paint(style)}/>`);
  }

  circle(x, y, radius, style) {
    this.parts.push(`<circle cx="${rounded(x)}" cy="${rounded(y)}" r="${rounded(radius)}"${paint(style)}/>`);
  }

  text(x, y, text, { size = 12, fill, weight = 400, align = "left", halo = null, part = "" }) {
    const anchor = { left: "start", center: "middle", right: "end" }[align];
    const edge = halo ? ` stroke="${halo}" stroke-width="3" paint-order="stroke" stroke-linejoin="round"` : "";
    this.parts.push(`<text x="${rounded(x)}" y="${rounded(y)}" font-size="${size}" font-weight="${weight}" `
      + `text-anchor="${anchor}" dominant-baseline="central" fill="${fill}"${edge}${named(part)}>${escaped(text)}</text>`);
  }

  // Draws what follows moved by (x, y), until `draw` ends.
  moved(x, y, draw) {
    this.parts.push(`<g transform="translate(${rounded(x)} ${rounded(y)})">`);
    draw(this);
    this.parts.push("</g>");
  }

  toString() {
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${this.width} ${this.height}" width="${this.width}" `
      + `height="${this.height}" font-family="${escaped(FONT)}">${this.parts.join("")}</svg>`;
  }
}

const named = (part) => (part ? ` data-part="${escaped(part)}"` : "");

function paint({ fill, stroke, width = 1, dash = [], opacity = 1, closed, part }) {
  const line = stroke ? ` stroke="${stroke}" stroke-width="${width}" stroke-linejoin="round"` : "";
  const dashes = stroke && dash.length ? ` stroke-dasharray="${dash.join(" ")}"` : "";
  return ` fill="${fill ?? "none"}"${line}${dashes}${opacity < 1 ? ` opacity="${rounded(opacity)}"` : ""}${closed === false && !fill ? ' stroke-linecap="round"' : ""}${named(part)}`;
}

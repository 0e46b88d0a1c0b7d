// Draws the task stream on a canvas, and says what is at a point of it. Knows nothing of the page around.
//
// What came last may be of another window than the one that is looked at now (the user drags, the answer is on its way):
// it is drawn where it belongs in the window of now, and the next message fills the rest.
//
// Rule 1: at most some twenty thousand rectangles, or one image of cells: never a rectangle for each of a million tasks.
// Rule 2: a task that did not succeed has a mark of its own, besides its colour.

import type { Message, Numbers } from "../feed";
import { clock } from "../format";
import { css, hue, type Look } from "../parts/colours";

export interface Span {
  begin: number; // seconds since 1970
  end: number;
}
export interface Hit {
  kind: "task" | "running" | "cell" | "lane";
  row: number;
  index: number;
  column: number;
}
export const LEFT = 130; // pixels for names of lanes
export const BELOW = 22; // for times
const RUNNING_SHADE = 0.55;

export class Picture {
  private image: OffscreenCanvas | null = null;
  private of: Message | null = null;
  private shades = "";

  constructor(private canvas: HTMLCanvasElement) {}

  get width(): number {
    return this.canvas.clientWidth;
  }

  get height(): number {
    return this.canvas.clientHeight;
  }

  rowHeight(message: Message): number {
    return (this.height - BELOW) / Math.max(1, message.data.rows);
  }

  draw(message: Message, span: Span, look: Look, dark: boolean, chosen: Hit | null): void {
    const ratio = devicePixelRatio || 1;
    const width = Math.round(this.width * ratio);
    const height = Math.round(this.height * ratio);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    const pen = this.canvas.getContext("2d", { alpha: false })!;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = look.paper;
    pen.fillRect(0, 0, this.width, this.height);
    pen.save();
    pen.beginPath();
    pen.rect(LEFT, 0, this.width - LEFT, this.height - BELOW);
    pen.clip();
    if (message.tables.cells) this.drawCells(pen, message, span, look, dark);
    if (message.tables.running) this.drawRunning(pen, message, span, look, dark);
    if (message.tables.tasks) this.drawTasks(pen, message, span, look, dark);
    if (chosen) this.drawChosen(pen, message, span, look, chosen);
    pen.restore();
    this.drawLanes(pen, message, look);
    this.drawTimes(pen, span, look);
  }

  private drawTasks(pen: CanvasRenderingContext2D, message: Message, span: Span, look: Look, dark: boolean): void {
    const { row, start, duration, function: of, outcome } = message.tables.tasks.columns as Record<string, Numbers>;
    const high = this.rowHeight(message);
    const gap = high > 6 ? 1 : 0;
    const scale = (this.width - LEFT) / (span.end - span.begin);
    const shift = LEFT + (message.data.begin - span.begin) * scale;
    const byFunction = new Map<number, number[]>();
    for (let i = 0; i < row.length; i += 1) {
      const list = byFunction.get(of[i]);
      if (list) list.push(i);
      else byFunction.set(of[i], [i]);
    }
    for (const [number, list] of byFunction) {
      pen.fillStyle = css(hue(number, dark));
      for (const i of list) {
        pen.fillRect(shift + start[i] * scale, row[i] * high, Math.max(1, duration[i] * scale - 0.3), high - gap);
      }
    }
    for (let i = 0; i < row.length; i += 1) {
      if (!outcome[i]) continue;
      const x = shift + start[i] * scale;
      const wide = Math.max(2, duration[i] * scale);
      pen.fillStyle = look.bad;
      pen.fillRect(x, row[i] * high, wide, Math.max(2, high * 0.3));
      pen.fillStyle = look.ink;
      pen.fillRect(x + wide - 2, row[i] * high, 2, high - gap);
    }
    if (high < 12) return;
    pen.font = look.font;
    pen.textBaseline = "middle";
    const names = message.data.functions as string[];
    for (let i = 0; i < row.length; i += 1) {
      const x = Math.max(LEFT, shift + start[i] * scale);
      const wide = shift + (start[i] + duration[i]) * scale - x;
      if (wide < 46) continue;
      pen.fillStyle = dark ? "#000000" : "#ffffff";
      pen.fillText(fit(names[of[i]] ?? "", wide - 6), x + 3, (row[i] + 0.5) * high);
    }
  }

  private drawRunning(pen: CanvasRenderingContext2D, message: Message, span: Span, look: Look, dark: boolean): void {
    const { row, start, function: of } = message.tables.running.columns as Record<string, Numbers>;
    const high = this.rowHeight(message);
    const scale = (this.width - LEFT) / (span.end - span.begin);
    const shift = LEFT + (message.data.begin - span.begin) * scale;
    const until = shift + (Math.min(message.data.now, message.data.end) - message.data.begin) * scale;
    for (let i = 0; i < row.length; i += 1) {
      const x = Math.max(LEFT, shift + start[i] * scale);
      if (until <= x) continue;
      pen.globalAlpha = RUNNING_SHADE;
      pen.fillStyle = css(hue(of[i], dark));
      pen.fillRect(x, row[i] * high, until - x, high - 1);
      pen.globalAlpha = 1;
      pen.fillStyle = look.ink;
      pen.fillRect(until - 1, row[i] * high, 1, high - 1);
    }
  }

  private drawCells(pen: CanvasRenderingContext2D, message: Message, span: Span, look: Look, dark: boolean): void {
    const key = `${look.paper}`;
    if (this.of !== message || this.shades !== key) {
      this.image = paint(message, look, dark);
      this.of = message;
      this.shades = key;
    }
    const scale = (this.width - LEFT) / (span.end - span.begin);
    const x = LEFT + (message.data.begin - span.begin) * scale;
    pen.imageSmoothingEnabled = false;
    const wide = (message.data.end - message.data.begin) * scale;
    pen.drawImage(this.image!, x, 0, wide, this.height - BELOW);
  }

  private drawChosen(pen: CanvasRenderingContext2D, message: Message, span: Span, look: Look, chosen: Hit): void {
    const high = this.rowHeight(message);
    const scale = (this.width - LEFT) / (span.end - span.begin);
    const shift = LEFT + (message.data.begin - span.begin) * scale;
    const table = chosen.kind === "running" ? message.tables.running : message.tables.tasks;
    if (!table || chosen.index >= table.rows) return;
    const { start, duration, row } = table.columns as Record<string, Numbers>;
    const long = duration ? duration[chosen.index] : message.data.now - message.data.begin - start[chosen.index];
    pen.strokeStyle = look.ink;
    pen.lineWidth = 2;
    const x = shift + start[chosen.index] * scale;
    pen.strokeRect(x - 1, row[chosen.index] * high + 1, Math.max(4, long * scale), Math.max(4, high - 2));
  }

  private drawLanes(pen: CanvasRenderingContext2D, message: Message, look: Look): void {
    const names = message.tables.lanes.columns.name as string[];
    const rows = message.data.rows as number;
    const high = this.rowHeight(message);
    const step = Math.max(1, Math.ceil(14 / high));
    pen.font = look.font;
    pen.textBaseline = "middle";
    pen.fillStyle = look.ink;
    for (let row = 0; row < rows; row += step) {
      const lane = Math.floor((row * names.length) / rows);
      const y = (row + Math.min(step, rows - row) / 2) * high;
      pen.fillText(fit(names[lane] ?? "", LEFT - 10), 4, step > 1 ? row * high + 7 : y);
    }
    pen.strokeStyle = look.line;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(LEFT - 0.5, 0);
    pen.lineTo(LEFT - 0.5, this.height - BELOW);
    pen.lineTo(this.width, this.height - BELOW);
    pen.stroke();
  }

  private drawTimes(pen: CanvasRenderingContext2D, span: Span, look: Look): void {
    const long = span.end - span.begin;
    const most = Math.max(2, Math.floor((this.width - LEFT) / 110));
    const step = niceStep(long / most);
    pen.fillStyle = look.quiet;
    pen.textBaseline = "middle";
    for (let t = Math.ceil(span.begin / step) * step; t < span.end; t += step) {
      const x = LEFT + ((t - span.begin) / long) * (this.width - LEFT);
      pen.fillRect(x, this.height - BELOW, 1, 4);
      pen.fillText(timeOf(t, step), x + 3, this.height - BELOW / 2 + 1);
    }
  }

  /** What is at this point of the canvas. */
  hit(message: Message, span: Span, x: number, y: number): Hit | null {
    const row = Math.floor(y / this.rowHeight(message));
    if (row < 0 || row >= message.data.rows) return null;
    if (x < LEFT) return { kind: "lane", row, index: -1, column: 0 };
    const at = span.begin + ((x - LEFT) / (this.width - LEFT)) * (span.end - span.begin) - message.data.begin;
    const slack = ((span.end - span.begin) / (this.width - LEFT)) * 2;
    const tasks = message.tables.tasks;
    if (tasks) {
      const { row: rows, start, duration } = tasks.columns as Record<string, Numbers>;
      let best = -1;
      let distance = slack;
      for (let i = 0; i < rows.length; i += 1) {
        if (rows[i] !== row) continue;
        const off = at < start[i] ? start[i] - at : at > start[i] + duration[i] ? at - start[i] - duration[i] : 0;
        if (off <= distance) {
          best = i;
          distance = off;
        }
      }
      if (best >= 0) return { kind: "task", row, index: best, column: 0 };
    }
    const running = message.tables.running;
    if (running) {
      const { row: rows, start } = running.columns as Record<string, Numbers>;
      for (let i = 0; i < rows.length; i += 1) {
        if (rows[i] === row && at >= start[i] - slack && at <= message.data.now - message.data.begin) {
          return { kind: "running", row, index: i, column: 0 };
        }
      }
    }
    const cells = message.tables.cells;
    if (!cells) return null;
    const column = Math.floor((at / (message.data.end - message.data.begin)) * message.data.columns);
    if (column < 0 || column >= message.data.columns) return null;
    return { kind: "cell", row, index: row * message.data.columns + column, column };
  }
}

/** The cells as an image, a pixel each. */
function paint(message: Message, look: Look, dark: boolean): OffscreenCanvas {
  const { rows, columns } = message.data as { rows: number; columns: number };
  const { busy, function: of, failed } = message.tables.cells.columns as Record<string, Numbers>;
  const paper = rgb(look.paper);
  const ink = rgb(look.ink);
  const bad = rgb(look.bad);
  const names = message.data.palette as number[];
  const hues = names.map((number) => hue(number, dark));
  const image = new OffscreenCanvas(columns, rows);
  const pen = image.getContext("2d")!;
  const data = pen.createImageData(columns, rows);
  const pixels = data.data;
  for (let i = 0, at = 0; i < busy.length; i += 1, at += 4) {
    let colour = paper;
    let share = 0;
    if (busy[i] || of[i] !== 255) {
      colour = hues[of[i]] ?? ink;
      share = 0.25 + (0.75 * busy[i]) / 255;
    }
    if (failed[i]) {
      colour = (Math.floor(i / columns) + (i % columns)) % 2 ? bad : ink; // a chequered place
      share = 1;
    }
    pixels[at] = paper[0] + (colour[0] - paper[0]) * share;
    pixels[at + 1] = paper[1] + (colour[1] - paper[1]) * share;
    pixels[at + 2] = paper[2] + (colour[2] - paper[2]) * share;
    pixels[at + 3] = 255;
  }
  pen.putImageData(data, 0, 0);
  return image;
}

function rgb(text: string): [number, number, number] {
  const number = parseInt(text.slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}

function fit(text: string, width: number): string {
  const most = Math.floor(width / 6.6);
  return text.length <= most ? text : most > 1 ? `${text.slice(0, most - 1)}…` : "";
}

function niceStep(least: number): number {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200];
  if (least >= 1) return steps.find((step) => step >= least) ?? 86400;
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least)!;
}

function timeOf(t: number, step: number): string {
  const text = clock(t);
  if (step >= 1) return text;
  const digits = Math.min(6, Math.ceil(-Math.log10(step)));
  return `${text.slice(6)}${(t % 1).toFixed(digits).slice(1)}`;
}

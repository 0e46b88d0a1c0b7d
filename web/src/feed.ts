// The feed: this browser's connection to scaler_ui, and the last message as a signal.
//
// The server sends the columns of the view that is open, as bytes (scaler/monitor/page/message.py says how); numbers
// become typed arrays over those bytes, so a table of a thousand workers costs a handful of objects a second.
//
// Rule 1: while the tab is hidden the server is told so, and sends nothing.
// Rule 2: texts are only ever put into the page as text (Preact does that; nothing here makes HTML of strings).

import { signal } from "@preact/signals";

export type Numbers = Float64Array | Int32Array | Uint16Array | Uint8Array;
export type Column = Numbers | BigUint64Array | string[];
export interface Table {
  rows: number;
  columns: Record<string, Column>;
}
export interface Head {
  source: string;
  live: boolean;
  now: number;
  rounds: number;
  problem: string;
  counts?: Record<string, number>;
  sizes?: Record<string, number>;
  version?: string;
  epoch?: string;
}
export interface Message {
  view: string;
  head: Head;
  data: any;
  tables: Record<string, Table>;
}
export type Arguments = Record<string, string | number>;

export const message = signal<Message | null>(null);
export const head = signal<Head | null>(null);
export const connection = signal<"connecting" | "open" | "lost">("connecting");
export const figures = { messages: 0, bytes: 0 };

const FIRST_PAUSE_MS = 250;
const MOST_PAUSE_MS = 5000;
let socket: WebSocket | null = null;
let pause = FIRST_PAUSE_MS;
let wanted: { view: string; arguments: Arguments } | null = null;
let texts = new Map<string, string[]>();
let frozen = false;

/** Show this view from now on. */
export function open(view: string, given: Arguments): void {
  if (wanted && wanted.view === view && JSON.stringify(wanted.arguments) === JSON.stringify(given)) return;
  if (!wanted || wanted.view !== view) {
    message.value = null;
    texts = new Map();
  }
  wanted = { view, arguments: given };
  say();
}

/** Keep what is shown as it is, or go on. */
export function freeze(on: boolean): void {
  frozen = on;
  say(true);
}

export function connect(): void {
  const place = new URL("feed", document.baseURI);
  place.protocol = place.protocol === "https:" ? "wss:" : "ws:";
  place.hash = "";
  socket = new WebSocket(place);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    connection.value = "open";
    pause = FIRST_PAUSE_MS;
    say(true);
  };
  socket.onmessage = (event) => take(event.data as ArrayBuffer);
  socket.onclose = () => {
    socket = null;
    connection.value = "lost";
    setTimeout(connect, pause);
    pause = Math.min(2 * pause, MOST_PAUSE_MS);
  };
}

document.addEventListener("visibilitychange", () => say(true));

function say(fresh = false): void {
  if (!socket || socket.readyState !== WebSocket.OPEN || !wanted) return;
  if (fresh) texts = new Map();
  const quiet = document.hidden || frozen;
  socket.send(JSON.stringify(quiet ? { view: null } : { ...wanted, fresh }));
}

function take(data: ArrayBuffer): void {
  if (document.hidden || frozen) return;
  figures.messages += 1;
  figures.bytes += data.byteLength;
  const length = new DataView(data).getUint32(0, true);
  const said = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  if (!wanted || said.view !== wanted.view) return;
  const tables: Record<string, Table> = {};
  for (const name of Object.keys(said.tables)) {
    const { rows, columns } = said.tables[name];
    const made: Record<string, Column> = {};
    for (const column of Object.keys(columns)) {
      made[column] = read(data, 4 + length, rows, `${name}/${column}`, columns[column]);
    }
    tables[name] = { rows, columns: made };
  }
  head.value = said.head;
  message.value = { view: said.view, head: said.head, data: said.data, tables };
}

function read(data: ArrayBuffer, base: number, rows: number, key: string, [kind, place]: [string, any]): Column {
  switch (kind) {
    case "f8":
      return new Float64Array(data, base + place, rows);
    case "i4":
      return new Int32Array(data, base + place, rows);
    case "u2":
      return new Uint16Array(data, base + place, rows);
    case "u1":
      return new Uint8Array(data, base + place, rows);
    case "u8":
      return new BigUint64Array(data, base + place, rows);
    case "text":
      texts.set(key, place);
      return place;
    default:
      return texts.get(key) ?? new Array<string>(rows).fill("");
  }
}

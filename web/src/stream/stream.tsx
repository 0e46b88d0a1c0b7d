// The task stream: who ran what when, over a window that moves with time or stands still. Drag, wheel and keys move it.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Message, Numbers } from "../feed";
import { clock, count, percent, seconds, short, task as taskId } from "../format";
import { address, go, route, set } from "../route";
import { isDark } from "../settings";
import { colours, css, hue } from "../parts/colours";
import { Downloads, Select } from "../parts/toolbar";
import { useView } from "../parts/use_view";
import { OUTCOMES, outcome } from "../parts/words";
import { LEFT, Picture, BELOW, type Hit, type Span } from "./picture";

const WINDOWS: [string, string][] = [
  ["1", "1 second"],
  ["10", "10 seconds"],
  ["60", "1 minute"],
  ["300", "5 minutes"],
  ["1200", "20 minutes"],
  ["6000", "100 minutes"],
  ["36000", "10 hours"],
];
const LEAST_S = 1e-4;
const MOST_S = 36000;
const READABLE = 16; // pixels a lane
const LEAST_ROW = 3;
const LEGEND = 16;

export function Stream() {
  const { query } = route.value;
  const span = Math.min(MOST_S, Math.max(LEAST_S, Number(query.span) || 60));
  const end = Number(query.end) || 0; // 0: now
  const readable = query.lanes === "readable";
  const first = Math.max(0, Math.floor(Number(query.first) || 0));
  const box = useRef<HTMLCanvasElement>(null);
  const picture = useRef<Picture | null>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  const [hover, setHover] = useState<{ hit: Hit; x: number; y: number } | null>(null);
  const [chosenTask, chooseTask] = useState<bigint | null>(null);
  const room = Math.max(1, Math.floor((size.height - BELOW) / (readable ? READABLE : LEAST_ROW)));
  const now = useView("stream", {
    span,
    end,
    worker: query.worker ?? "",
    gone: query.gone ?? "",
    columns: Math.max(10, Math.min(2000, size.width - LEFT)),
    rows: Math.min(512, room),
    ...(readable ? { first, lanes: room } : {}),
  });
  const shown: Span = windowOf(now, span, end);
  const chosen = useMemo(() => find(now, chosenTask), [now, chosenTask]);
  const dark = isDark();

  useEffect(() => {
    picture.current = new Picture(box.current!);
    const look = new ResizeObserver(() => {
      const { clientWidth, clientHeight } = box.current!;
      setSize({ width: clientWidth, height: clientHeight });
    });
    look.observe(box.current!);
    return () => look.disconnect();
  }, []);

  useEffect(() => {
    if (now) picture.current?.draw(now, shown, colours(dark), dark, chosen);
  }, [now, shown.begin, shown.end, dark, size, chosen]);

  function move(begin: number, until: number): void {
    if (!now) return;
    const long = Math.min(MOST_S, Math.max(LEAST_S, until - begin));
    const isNow = until >= now.data.now;
    set({ span: String(Number(long.toPrecision(6))), end: isNow ? "" : String(until) });
  }

  function zoom(factor: number, at = end ? 0.5 : 1): void {
    const long = (shown.end - shown.begin) * factor;
    const pivot = shown.begin + at * (shown.end - shown.begin);
    move(pivot - at * long, pivot + (1 - at) * long);
  }

  const pointer = usePointer(box, shown, move, zoom, (x, y, isClick) => {
    const hit = now && picture.current ? picture.current.hit(now, shown, x, y) : null;
    setHover(hit && !isClick ? { hit, x, y } : null);
    if (hit && isClick && now) openHit(now, shown, hit, zoom, (x - LEFT) / (size.width - LEFT));
  });

  function onKey(event: KeyboardEvent): void {
    if (!now || event.ctrlKey || event.metaKey || event.altKey) return;
    const long = shown.end - shown.begin;
    if (event.shiftKey && event.key.startsWith("Arrow")) chooseTask(taskOf(now, stepFrom(now, chosen, event.key)));
    else if (event.key === "Enter" && chosen) openHit(now, shown, chosen, zoom, 0.5);
    else if (event.key === "ArrowLeft") move(shown.begin - long / 4, shown.end - long / 4);
    else if (event.key === "ArrowRight") move(shown.begin + long / 4, shown.end + long / 4);
    else if (event.key === "ArrowDown" && readable) set({ first: String(first + 5) });
    else if (event.key === "ArrowUp" && readable) set({ first: String(Math.max(0, first - 5)) });
    else if (event.key === "+" || event.key === "=") zoom(0.5);
    else if (event.key === "-") zoom(2);
    else if (event.key === "0") set({ end: "" });
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  const told = hover ?? (chosen && now ? { hit: chosen, x: LEFT + 10, y: 10 } : null);
  return (
    <div class="fill">
      <h1>Task stream</h1>
      <div class="toolbar">
        <Select label="Window" name="span" options={withOwn(span)} value="60" />
        <label>
          Workers
          <input
            type="search"
            value={query.worker ?? ""}
            placeholder="text; !text: without"
            onInput={(event) => set({ worker: (event.target as HTMLInputElement).value, first: "" })}
          />
        </label>
        <Select
          label="Lanes"
          name="lanes"
          options={[
            ["", "all in sight"],
            ["readable", "high enough to read"],
          ]}
        />
        <Select
          label="Show"
          name="gone"
          options={[
            ["", "workers of now"],
            ["1", "those that are gone, too"],
          ]}
        />
        <span role="group" aria-label="Window">
          <button type="button" onClick={() => move(2 * shown.begin - shown.end, shown.begin)} aria-label="Earlier">
            ←
          </button>{" "}
          <button type="button" onClick={() => move(shown.end, 2 * shown.end - shown.begin)} aria-label="Later">
            →
          </button>{" "}
          <button type="button" onClick={() => zoom(0.5)} aria-label="Closer">
            +
          </button>{" "}
          <button type="button" onClick={() => zoom(2)} aria-label="Wider">
            −
          </button>{" "}
          <button type="button" onClick={() => set({ end: "" })} aria-pressed={!end}>
            Now
          </button>
        </span>
        <span class="grow" />
        <span class="quiet" role="status" data-stream-shown>
          {now ? inWords(now) : ""}
        </span>
        <Downloads view="tasks" />{" "}
        <a href="download/trace.pftrace" download title="The last tasks, for ui.perfetto.dev">
          Trace
        </a>
      </div>
      <div
        class="stream"
        tabIndex={0}
        role="application"
        aria-label={`Task stream of ${count(now?.tables.lanes.rows ?? 0)} workers. ${now ? inWords(now) : ""} Arrows, plus and minus move the window; shift and arrows choose a task, Enter opens it.`}
        onKeyDown={onKey}
      >
        <canvas ref={box} aria-hidden="true" {...pointer} />
        {told && now && (
          <div
            class="tip"
            role="status"
            style={{ left: Math.max(0, Math.min(told.x + 14, size.width - 300)), top: Math.min(told.y + 14, size.height - 90) }}
          >
            {describe(now, told.hit)}
          </div>
        )}
      </div>
      {now && <Legend now={now} dark={dark} />}
    </div>
  );
}

function withOwn(span: number): [string, string][] {
  const own = String(span);
  return WINDOWS.some(([value]) => value === own) ? WINDOWS : [[own, seconds(span)], ...WINDOWS];
}

function windowOf(now: Message | null, span: number, end: number): Span {
  const until = end || now?.data.now || 0;
  return { begin: until - span, end: until };
}

function inWords(now: Message): string {
  const { written, seen, shown } = now.data;
  const missing = written - seen;
  if (missing > 0) return `${count(shown ?? seen)} of ${short(written)} shown: the scheduler had no room for the others.`;
  return shown !== undefined ? `${count(shown)} tasks, each by itself.` : `${short(seen)} tasks ended, summed up by pixel.`;
}

function describe(now: Message, hit: Hit): string {
  const lanes = now.tables.lanes.columns.name as string[];
  const names = now.data.functions as string[];
  const perRow = lanes.length / now.data.rows;
  const lane = Math.floor((hit.row * lanes.length) / now.data.rows);
  const who = perRow > 1 ? `${lanes[lane]} and ${Math.ceil(perRow) - 1} more` : lanes[lane];
  if (hit.kind === "lane") return who;
  if (hit.kind === "cell") {
    const { busy, function: of, ended, failed } = now.tables.cells.columns as Record<string, Numbers>;
    const at = now.data.begin + ((hit.column + 0.5) / now.data.columns) * (now.data.end - now.data.begin);
    const i = hit.index;
    const what = of[i] === 255 ? "nothing ran" : `mostly ${names[now.data.palette[of[i]]] ?? "(others)"}`;
    return `${who}\n${clock(at)}: busy ${percent(busy[i] / 255)}, ${what}\n${count(ended[i])} ended, ${count(failed[i])} did not succeed`;
  }
  if (hit.kind === "running") {
    const { function: of, start, task } = now.tables.running.columns as any;
    const since = now.data.now - now.data.begin - start[hit.index];
    return `${names[of[hit.index]]}\n${who}: runs since ${seconds(since)}\ntask ${taskId(task[hit.index])}`;
  }
  const { function: of, duration, queued, outcome: how, calls, task } = now.tables.tasks.columns as any;
  const i = hit.index;
  const chunk = calls[i] > 1 ? `, ${calls[i]}${calls[i] === 255 ? " or more" : ""} calls` : "";
  return `${names[of[i]]}: ${outcome(how[i])}\n${who}\ntook ${seconds(duration[i])}, queued ${seconds(queued[i])}${chunk}\ntask ${taskId(task[i])}`;
}

function openHit(now: Message, _shown: Span, hit: Hit, zoom: (factor: number, at: number) => void, at: number): void {
  if (hit.kind === "task") go("task", { task: taskId((now.tables.tasks.columns.task as any)[hit.index]) });
  else if (hit.kind === "running") go("task", { task: taskId((now.tables.running.columns.task as any)[hit.index]) });
  else if (hit.kind === "lane" && now.tables.lanes.rows === now.data.rows) {
    go("worker", { name: (now.tables.lanes.columns.name as string[])[hit.row] });
  } else if (hit.kind === "cell") zoom(0.25, at);
}

/** Where the chosen task is in what came last; its place changes as time goes on. */
function find(now: Message | null, task: bigint | null): Hit | null {
  if (!now?.tables.tasks || task === null) return null;
  const { task: ids, row } = now.tables.tasks.columns as any;
  for (let i = 0; i < ids.length; i += 1) {
    if (BigInt(ids[i]) === task) return { kind: "task", row: row[i], index: i, column: 0 };
  }
  return null;
}

function taskOf(now: Message, hit: Hit | null): bigint | null {
  return hit ? BigInt((now.tables.tasks.columns.task as any)[hit.index]) : null;
}

/** Another task of the picture: along a lane, or to the next one that has any. */
function stepFrom(now: Message, chosen: Hit | null, key: string): Hit | null {
  const tasks = now.tables.tasks;
  if (!tasks || !tasks.rows) return null;
  const { row, start } = tasks.columns as Record<string, Numbers>;
  const from = chosen && chosen.kind === "task" ? chosen.index : -1;
  let best = from;
  let distance = Infinity;
  for (let i = 0; i < row.length; i += 1) {
    if (i === from) continue;
    const along = from < 0 ? -start[i] : start[i] - start[from];
    const across = from < 0 ? row[i] : row[i] - row[from];
    let off = Infinity;
    if (from < 0) off = across * 1e6 - start[i];
    else if (key === "ArrowRight" && across === 0 && along > 0) off = along;
    else if (key === "ArrowLeft" && across === 0 && along < 0) off = -along;
    else if (key === "ArrowDown" && across > 0) off = across * 1e6 + Math.abs(along);
    else if (key === "ArrowUp" && across < 0) off = -across * 1e6 + Math.abs(along);
    if (off < distance) {
      distance = off;
      best = i;
    }
  }
  return best < 0 ? null : { kind: "task", row: row[best], index: best, column: 0 };
}

function Legend({ now, dark }: { now: Message; dark: boolean }) {
  const names = now.data.functions as string[];
  const weights = new Map<number, number>();
  const { tasks, cells } = now.tables;
  const of = (tasks ?? cells)?.columns.function as Numbers | undefined;
  if (of && tasks) {
    for (let i = 0; i < of.length; i += 1) weights.set(of[i], (weights.get(of[i]) ?? 0) + 1);
  } else {
    (now.data.palette as number[] | undefined)?.forEach((number, i, all) => weights.set(number, all.length - i));
  }
  const running = now.tables.running?.columns.function as Numbers | undefined;
  running?.forEach((number) => weights.set(number, (weights.get(number) ?? 0) + 1));
  const order = [...weights.entries()].sort((a, b) => b[1] - a[1]).slice(0, LEGEND);
  const others = weights.size - order.length;
  return (
    <ul class="legend" aria-label="Colours">
      {order.map(([number]) => (
        <li key={number}>
          <span class="swatch" style={{ background: css(hue(number, dark)) }} aria-hidden="true" />{" "}
          <a href={address("tasks", { function: names[number] ?? "" })}>{names[number] ?? "(others)"}</a>
        </li>
      ))}
      {others > 0 && <li>and {count(others)} more</li>}
      <li>
        <span class="swatch failed" aria-hidden="true" /> with a black edge or chequered: {OUTCOMES.slice(1).join(", ")}
      </li>
    </ul>
  );
}

/** Drag to move, wheel to zoom, hover to look, click to open. */
function usePointer(
  box: { current: HTMLCanvasElement | null },
  shown: Span,
  move: (begin: number, end: number) => void,
  zoom: (factor: number, at: number) => void,
  look: (x: number, y: number, isClick: boolean) => void,
) {
  const drag = useRef<{ x: number; span: Span; moved: boolean } | null>(null);
  const frame = useRef(0);
  useEffect(() => {
    const canvas = box.current!;
    const onWheel = (event: WheelEvent) => {
      event.preventDefault();
      const at = (event.offsetX - LEFT) / (canvas.clientWidth - LEFT);
      zoom(event.deltaY > 0 ? 1.3 : 1 / 1.3, Math.max(0, Math.min(1, at)));
    };
    canvas.addEventListener("wheel", onWheel, { passive: false });
    return () => canvas.removeEventListener("wheel", onWheel);
  });
  return {
    onPointerDown: (event: PointerEvent) => {
      drag.current = { x: event.offsetX, span: shown, moved: false };
      (event.target as HTMLElement).setPointerCapture(event.pointerId);
    },
    onPointerMove: (event: PointerEvent) => {
      const { offsetX: x, offsetY: y } = event;
      cancelAnimationFrame(frame.current);
      frame.current = requestAnimationFrame(() => {
        const held = drag.current;
        if (!held) return look(x, y, false);
        if (Math.abs(x - held.x) > 3) held.moved = true;
        if (!held.moved) return;
        const off = ((held.x - x) / (box.current!.clientWidth - LEFT)) * (held.span.end - held.span.begin);
        move(held.span.begin + off, held.span.end + off);
      });
    },
    onPointerUp: (event: PointerEvent) => {
      const held = drag.current;
      drag.current = null;
      if (held && !held.moved) look(event.offsetX, event.offsetY, true);
    },
    onPointerLeave: () => look(-1, -1, false),
  };
}

// A table of any number of rows, of which only those in sight are in the document.
//
// Columns come as the server sent them; sorting makes an array of row numbers and touches no cell. The row that is
// selected is known by its key, so it stays selected when the order changes.
//
// Rule 1: all of it works by keyboard: the names of columns are buttons, the rows are one stop for Tab and arrows move.
// Rule 2: a row is as high as any other, and cells of text are cut with an ellipsis (the whole text is their title).

import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import type { Column, Table } from "../feed";
import { route, set } from "../route";
import { makeFilter } from "./filter";

export interface Field {
  name: string;
  title: string;
  show?: (value: any, row: number) => ComponentChildren;
  text?: boolean; // aligned left, and what the filter looks at
  minor?: boolean; // left out where there is little room
  hint?: string;
  width?: number; // em
}

const ROW = 28;
const SPARE = 8;

interface Props {
  label: string;
  table: Table;
  fields: Field[];
  keyOf: (row: number) => string;
  sort: string; // column, with "-" before it from high to low
  onOpen?: (row: number) => void;
  isFiltered?: boolean; // by the server already
  download?: string;
  keep?: (row: number) => boolean;
  onCount?: (shown: number) => void;
}

export function compare(column: Column): (a: number, b: number) => number {
  if (Array.isArray(column)) {
    return (a, b) => (column[a] < column[b] ? -1 : column[a] > column[b] ? 1 : a - b);
  }
  if (column instanceof BigUint64Array) {
    return (a, b) => (column[a] < column[b] ? -1 : column[a] > column[b] ? 1 : a - b);
  }
  // What is unknown comes last, whichever way the rest goes: as if it were smaller than all.
  return (a, b) => {
    const x = column[a];
    const y = column[b];
    if (Number.isNaN(x)) return Number.isNaN(y) ? a - b : -1;
    return Number.isNaN(y) ? 1 : x - y || a - b;
  };
}

export function order(table: Table, sort: string, keep: (row: number) => boolean): number[] {
  const rows: number[] = [];
  for (let row = 0; row < table.rows; row += 1) if (keep(row)) rows.push(row);
  const falling = sort.startsWith("-");
  const column = table.columns[falling ? sort.slice(1) : sort];
  if (!column) return rows;
  const rising = compare(column);
  rows.sort(falling ? (a, b) => rising(b, a) : rising);
  return rows;
}

export function DataTable(props: Props) {
  const { table, fields, keyOf, label, onOpen } = props;
  const { query } = route.value;
  const asked = query.sort ?? "";
  const sort = asked.replace(/^-/, "") in table.columns ? asked : props.sort;
  const filter = props.isFiltered ? "" : (query.filter ?? "");
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const [selected, select] = useState("");

  const rows = useMemo(() => {
    const matches = makeFilter(filter);
    const texts = fields.filter((field) => field.text).map((field) => table.columns[field.name] as string[]);
    const also = props.keep ?? (() => true);
    return order(table, sort, (row) => also(row) && matches(texts.map((column) => column?.[row] ?? "").join(" ")));
  }, [table, sort, filter, props.keep]);
  useLayoutEffect(() => props.onCount?.(rows.length), [rows.length]);

  useLayoutEffect(() => {
    const look = new ResizeObserver(() => setHeight(box.current?.clientHeight ?? 600));
    look.observe(box.current!);
    return () => look.disconnect();
  }, []);

  const at = rows.findIndex((row) => keyOf(row) === selected);
  const first = Math.max(0, Math.floor(top / ROW) - SPARE);
  const last = Math.min(rows.length, Math.ceil((top + height) / ROW) + SPARE);

  function choose(place: number): void {
    const next = Math.max(0, Math.min(rows.length - 1, place));
    if (!rows.length) return;
    select(keyOf(rows[next]));
    const sight = box.current!;
    const bodyHeight = sight.clientHeight - ROW;
    if (next * ROW < sight.scrollTop) sight.scrollTop = next * ROW;
    else if ((next + 1) * ROW > sight.scrollTop + bodyHeight) sight.scrollTop = (next + 1) * ROW - bodyHeight;
  }

  function onKey(event: KeyboardEvent): void {
    if (event.target !== box.current) return;
    const page = Math.max(1, Math.floor(height / ROW) - 2);
    const steps: Record<string, number> = { ArrowDown: at + 1, ArrowUp: Math.max(0, at - 1), PageDown: at + page };
    steps.PageUp = at - page;
    steps.Home = 0;
    steps.End = rows.length - 1;
    if (event.key in steps) {
      choose(steps[event.key]);
      event.preventDefault();
    } else if (event.key === "Enter" && at >= 0) {
      onOpen?.(rows[at]);
    }
  }

  function onSort(field: Field): void {
    const falls = sort === `-${field.name}`;
    const isNow = falls || sort === field.name;
    const next = isNow ? (falls ? field.name : `-${field.name}`) : field.text ? field.name : `-${field.name}`;
    set({ sort: next });
  }

  return (
    <div
      class="table"
      ref={box}
      tabIndex={0}
      role="region"
      aria-label={`${label}: ${rows.length} rows; arrow keys select, Enter opens`}
      onScroll={() => setTop(box.current!.scrollTop)}
      onKeyDown={onKey}
      data-rows={rows.length}
    >
      <table aria-rowcount={rows.length + 1} aria-label={label}>
        <thead>
          <tr aria-rowindex={1}>
            {fields.map((field) => (
              <th
                key={field.name}
                scope="col"
                class={`${field.text ? "text" : ""} ${field.minor ? "minor" : ""}`}
                aria-sort={sort === field.name ? "ascending" : sort === `-${field.name}` ? "descending" : undefined}
              >
                <button type="button" onClick={() => onSort(field)} title={field.hint}>
                  {field.title}
                  <span aria-hidden="true">{sort === field.name ? " ↑" : sort === `-${field.name}` ? " ↓" : ""}</span>
                </button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {first > 0 && <tr class="space" aria-hidden="true" style={{ height: first * ROW }} />}
          {rows.slice(first, last).map((row, i) => {
            const key = keyOf(row);
            return (
              <tr
                key={key}
                aria-rowindex={first + i + 2}
                aria-selected={key === selected ? "true" : undefined}
                class={onOpen ? "opens" : ""}
                onClick={() => {
                  select(key);
                  onOpen?.(row);
                }}
              >
                {fields.map((field) => (
                  <Cell key={field.name} field={field} value={table.columns[field.name]?.[row]} row={row} />
                ))}
              </tr>
            );
          })}
          {last < rows.length && <tr class="space" aria-hidden="true" style={{ height: (rows.length - last) * ROW }} />}
        </tbody>
      </table>
      {rows.length === 0 && <p class="quiet">{filter ? "Nothing matches the filter." : "There is nothing here yet."}</p>}
    </div>
  );
}

function Cell({ field, value, row }: { field: Field; value: any; row: number }) {
  const shown = field.show ? field.show(value, row) : value;
  const kind = `${field.text ? "text" : ""} ${field.minor ? "minor" : ""}`;
  return (
    <td class={kind} title={typeof shown === "string" && shown.length > 20 ? shown : undefined}>
      {shown}
    </td>
  );
}

// Progress: how far the calls of each function have come. Of a graph, that is how far its stages are.

import { useState } from "preact/hooks";
import type { Numbers } from "../feed";
import { count, percent } from "../format";
import { address, route } from "../route";
import { makeFilter } from "../parts/filter";
import { Select, Toolbar } from "../parts/toolbar";
import { useView } from "../parts/use_view";
import { Waiting } from "../parts/waiting";

const PARTS: [string, string][] = [
  ["succeeded", "succeeded"],
  ["failed", "failed"],
  ["cancelled", "cancelled"],
  ["placed", "on workers"],
  ["waiting", "still to come"],
];
const MOST = 200;

export function Progress() {
  const now = useView("progress");
  const [all, setAll] = useState(false);
  if (!now) return <Waiting />;
  const { columns, rows } = now.tables.rows;
  const names = columns.name as string[];
  const numbers = (name: string) => columns[name] as Numbers;
  const matches = makeFilter(route.value.query.filter ?? "");
  const isOpen = (row: number) => numbers("placed")[row] + numbers("waiting")[row] > 0;
  const onlyOpen = route.value.query.which !== "all";
  const kept: number[] = [];
  for (let row = 0; row < rows; row += 1) if (matches(names[row]) && (!onlyOpen || isOpen(row))) kept.push(row);
  kept.sort((a, b) => numbers("submitted")[b] - numbers("submitted")[a]);
  const shown = all ? kept : kept.slice(0, MOST);
  return (
    <>
      <h1>Progress by function</h1>
      <Toolbar shown={shown.length} of={rows} what="functions" download="progress">
        <Select
          label="Which"
          name="which"
          options={[
            ["open", "that have open calls"],
            ["all", "all"],
          ]}
        />
      </Toolbar>
      <ul class="legend" aria-label="Parts of the bars">
        {PARTS.map(([name, words]) => (
          <li key={name}>
            <span class={`swatch ${name}`} aria-hidden="true" /> {words}
          </li>
        ))}
      </ul>
      {kept.length === 0 && <p class="quiet">No function has open calls.</p>}
      <ul class="progress">
        {shown.map((row) => {
          const total = Math.max(1, numbers("submitted")[row]);
          const done = numbers("succeeded")[row] + numbers("failed")[row] + numbers("cancelled")[row];
          const words = PARTS.filter(([name]) => numbers(name)[row] > 0)
            .map(([name, part]) => `${count(numbers(name)[row])} ${part}`)
            .join(", ");
          return (
            <li key={names[row]}>
              <a class="name" title={names[row]} href={address("functions", { function: names[row] })}>
                {names[row]}
              </a>
              <span
                class="stack"
                role="progressbar"
                aria-valuemin={0}
                aria-valuemax={100}
                aria-valuenow={Math.floor((100 * done) / total)}
                aria-label={`${names[row]}: ${words}`}
              >
                {PARTS.map(([name]) => (
                  <span key={name} class={name} style={{ width: `${(100 * numbers(name)[row]) / total}%` }} />
                ))}
              </span>
              <span class="quiet">
                {percent(Math.floor((1000 * done) / total) / 1000)}: {words}
              </span>
            </li>
          );
        })}
      </ul>
      {kept.length > shown.length && (
        <button type="button" onClick={() => setAll(true)}>
          Show all {count(kept.length)}
        </button>
      )}
    </>
  );
}

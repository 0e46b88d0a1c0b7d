// Above a table: the filter, how many rows are shown, and downloads.

import type { ComponentChildren } from "preact";
import { route, set } from "../route";

interface Props {
  shown?: number;
  of?: number;
  what: string;
  download?: string;
  filter?: boolean;
  children?: ComponentChildren;
}

export function Toolbar({ shown, of, what, download, filter = true, children }: Props) {
  return (
    <div class="toolbar">
      {filter && (
        <label>
          Filter
          <input
            type="search"
            value={route.value.query.filter ?? ""}
            placeholder="text or /regex; !text: without"
            onInput={(event) => set({ filter: (event.target as HTMLInputElement).value })}
          />
        </label>
      )}
      {children}
      <span class="grow" />
      {shown !== undefined && (
        <span class="quiet" role="status" data-shown={shown}>
          {shown === of || of === undefined
            ? `${shown.toLocaleString("en-US")} ${what}`
            : `${shown.toLocaleString("en-US")} of ${of.toLocaleString("en-US")} ${what}`}
        </span>
      )}
      {download && <Downloads view={download} />}
    </div>
  );
}

export function Downloads({ view }: { view: string }) {
  return (
    <span class="downloads">
      <a href={`download/${view}.csv`} download>
        CSV
      </a>{" "}
      <a href={`download/${view}.json`} download>
        JSON
      </a>
    </span>
  );
}

export function Select(props: { label: string; name: string; options: [string, string][]; value?: string }) {
  const value = route.value.query[props.name] ?? props.value ?? props.options[0][0];
  return (
    <label>
      {props.label}
      <select value={value} onChange={(event) => set({ [props.name]: (event.target as HTMLSelectElement).value })}>
        {props.options.map(([key, title]) => (
          <option key={key} value={key}>
            {title}
          </option>
        ))}
      </select>
    </label>
  );
}

export const SPANS: [string, string][] = [
  ["300", "5 minutes"],
  ["600", "10 minutes"],
  ["3600", "1 hour"],
  ["43200", "12 hours"],
  ["604800", "1 week"],
];

// Where in the page one is, and with which filters: all of it in the address, so that a filter survives a reload, the
// back button works, and an address can be sent to a colleague. The part after # never leaves the browser.

import { signal } from "@preact/signals";

export interface Route {
  view: string;
  query: Record<string, string>;
}

export const route = signal<Route>(parse(location.hash));
const kept = new Map<string, Record<string, string>>();

export function parse(hash: string): Route {
  const [view, query] = hash.replace(/^#\/?/, "").split("?");
  return { view: view || "overview", query: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

export function address(view: string, query: Record<string, string> = {}): string {
  const left = Object.entries(query).filter(([, value]) => value !== "");
  const text = new URLSearchParams(left).toString();
  return `#/${view}${text ? `?${text}` : ""}`;
}

/** The address of a view with the filters that it had last. */
export function lastAddress(view: string): string {
  return address(view, kept.get(view) ?? {});
}

/** Another view, or the same with other filters. */
export function go(view: string, query: Record<string, string> = {}): void {
  location.hash = address(view, query);
}

/** Change some of the filters; no new entry in the history of the browser. */
export function set(changes: Record<string, string>): void {
  const { view, query } = route.value;
  history.replaceState(null, "", address(view, { ...query, ...changes }));
  update();
}

function update(): void {
  const now = parse(location.hash);
  kept.set(now.view, now.query);
  route.value = now;
}

addEventListener("hashchange", update);
update();

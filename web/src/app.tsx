// The frame around the views: the menu, what is said of the scheduler on every view, keys, and light or dark.

import { useEffect } from "preact/hooks";
import { connection, freeze, head } from "./feed";
import { count, moment } from "./format";
import { lastAddress, go, route } from "./route";
import { isFrozen, theme, THEMES } from "./settings";
import { VIEWS } from "./views";
import { Keys, isHelpOpen } from "./parts/keys";

export function App() {
  const view = VIEWS.find((each) => each.name === route.value.view) ?? VIEWS[0];
  useEffect(() => {
    document.title = `${view.title} · Scaler`;
  }, [view]);
  useEffect(() => {
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  useEffect(() => {
    document.documentElement.dataset.theme = theme.value;
  }, [theme.value]);
  return (
    <>
      <a class="skip" href="#content" onClick={skip}>
        Skip to the content
      </a>
      <header>
        <span class="brand">Scaler</span>
        <Where />
        <span class="grow" />
        <button type="button" aria-pressed={isFrozen.value} onClick={toggleFrozen} title="Key: space">
          {isFrozen.value ? "Go on" : "Pause"}
        </button>
        <button type="button" onClick={nextTheme} title="Key: t">
          Theme: {theme.value}
        </button>
        <button type="button" onClick={() => (isHelpOpen.value = true)} title="Key: ?">
          Keys
        </button>
      </header>
      <nav aria-label="Views">
        {VIEWS.filter((each) => each.key).map((each) => (
          <a
            key={each.name}
            href={lastAddress(each.name)}
            aria-current={each.name === view.name ? "page" : undefined}
            title={`Key: ${each.key}`}
          >
            {each.title}
          </a>
        ))}
      </nav>
      <Trouble />
      <main id="content" tabIndex={-1}>
        <view.show key={view.name} />
      </main>
      <Keys />
    </>
  );
}

function Where() {
  const now = head.value;
  if (!now) return <span class="quiet">connecting…</span>;
  return (
    <span class="where">
      <span class="source">{now.source}</span>
      <span class="quiet">
        {now.live ? "" : "recording, until "}
        {moment(now.now)}
      </span>
      {now.counts && (
        <span class="quiet" data-counts>
          {count(now.counts.submitted)} submitted, {count(open(now.counts))} open
        </span>
      )}
    </span>
  );
}

function open(counts: Record<string, number>): number {
  return counts.submitted - counts.succeeded - counts.failed - counts.cancelled;
}

function Trouble() {
  const text =
    connection.value === "lost"
      ? "scaler_ui cannot be reached: what is shown is old. Trying again…"
      : (head.value?.problem ?? "");
  return (
    <div role="status" class={text ? "trouble" : "none"}>
      {text && `⚠ ${text}`}
    </div>
  );
}

function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("content")?.focus();
}

function toggleFrozen(): void {
  isFrozen.value = !isFrozen.value;
  freeze(isFrozen.value);
}

function nextTheme(): void {
  theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length];
}

function onKey(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target as HTMLElement;
  if (event.key === "Escape" && target.matches("input, select")) target.blur();
  if (target.matches("input, select, textarea")) return;
  const view = VIEWS.find((each) => each.key === event.key);
  if (view) {
    location.hash = lastAddress(view.name);
  } else if (event.key === "/") {
    const box = document.querySelector<HTMLInputElement>("main input[type=search]");
    if (!box) return;
    box.focus();
    event.preventDefault();
  } else if (event.key === "?") {
    isHelpOpen.value = true;
  } else if (event.key === "t") {
    nextTheme();
  } else if (event.key === " " && !target.matches("button, a, summary, [tabindex='0']")) {
    toggleFrozen();
    event.preventDefault();
  } else if (event.key === "Backspace" && (route.value.view === "worker" || route.value.view === "task")) {
    if (history.length > 1) history.back();
    else go("overview");
  }
}

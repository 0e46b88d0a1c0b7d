// Settings: what the scheduler says of itself, what it counts besides tasks, and this page's own.

import type { Numbers, Table } from "../feed";
import { count, moment } from "../format";
import { theme, THEMES } from "../settings";
import { useView } from "../parts/use_view";
import { Waiting } from "../parts/waiting";
import { Fact } from "./worker";

export function Settings() {
  const now = useView("settings");
  if (!now) return <Waiting />;
  const { about, started, seen } = now.data;
  return (
    <>
      <h1>Settings</h1>
      <h2>This page</h2>
      <label>
        Theme{" "}
        <select value={theme.value} onChange={(event) => (theme.value = (event.target as HTMLSelectElement).value)}>
          {THEMES.map((each) => (
            <option key={each} value={each}>
              {each === "auto" ? "as the system has it" : each}
            </option>
          ))}
        </select>
      </label>
      <p>
        For Prometheus: <a href="metrics">metrics</a>, with each worker: <a href="metrics?workers=1">metrics?workers=1</a>
      </p>
      <h2>The scheduler</h2>
      {about && (
        <dl class="facts">
          {Object.entries(about as Record<string, string>).map(([name, value]) => (
            <Fact key={name} name={name} value={value} />
          ))}
          <Fact name="Started" value={moment(started)} />
        </dl>
      )}
      {seen && (
        <>
          <h2>Schedulers that this page has seen</h2>
          <ul>
            {seen.map((each: any) => (
              <li key={each.epoch + each.since}>
                since {moment(each.since)} <code class="quiet">{each.epoch}</code>
              </li>
            ))}
          </ul>
        </>
      )}
      <div class="pair">
        {["messages", "refusals", "restarts"].map(
          (name) => now.tables[name] && <Tally key={name} name={name} table={now.tables[name]} />,
        )}
      </div>
    </>
  );
}

const TITLES: Record<string, string> = {
  messages: "Messages",
  refusals: "Refused",
  restarts: "Workers that were replaced",
};

function Tally({ name, table }: { name: string; table: Table }) {
  const names = table.columns.name as string[];
  const counts = table.columns.count as Numbers;
  return (
    <section>
      <h2>{TITLES[name]}</h2>
      {table.rows === 0 && <p class="quiet">None.</p>}
      <dl class="counts">
        {names.map((each, i) => (
          <div key={each}>
            <dt>{each}</dt>
            <dd>{count(counts[i])}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

// Functions: how often each was called, how long it takes, how long its calls wait, and its share of all time.

import type { Numbers, Table } from "../feed";
import { count, percent, seconds } from "../format";
import { address, route, set } from "../route";
import type { Field } from "../parts/table";
import { TableView } from "../parts/table_view";
import { useView } from "../parts/use_view";
import { RecentTasks } from "./tasks";

const FIELDS: Field[] = [
  { name: "name", title: "Function", text: true },
  { name: "submitted", title: "Submitted", show: count },
  { name: "succeeded", title: "Succeeded", show: count },
  { name: "failed", title: "Failed", show: count },
  { name: "cancelled", title: "Cancelled", show: count, minor: true },
  { name: "placed", title: "On workers", show: count },
  { name: "share", title: "Share of time", show: percent },
  { name: "mean_s", title: "Mean", show: seconds },
  { name: "p50_s", title: "p50", show: seconds, hint: "half of its calls took less" },
  { name: "p99_s", title: "p99", show: seconds, hint: "99 of 100 calls took less" },
  { name: "queue_p50_s", title: "Queue p50", show: seconds, hint: "half of its calls waited less for a worker", minor: true },
  { name: "queue_p99_s", title: "Queue p99", show: seconds, minor: true },
  { name: "last_s", title: "Last", show: (age) => `${seconds(age)} ago`, minor: true },
];

export function Functions() {
  const name = route.value.query.function;
  return name ? <One name={name} /> : <All />;
}

function All() {
  return (
    <TableView
      view="functions"
      title="Functions"
      fields={FIELDS}
      sort="-share"
      keyOf={({ name }, row) => String(name[row])}
      onOpen={({ name }, row) => set({ function: String(name[row]) })}
    />
  );
}

function One({ name }: { name: string }) {
  const now = useView("function", { name });
  return (
    <>
      <h1>{name}</h1>
      <p class="links">
        <button type="button" onClick={() => set({ function: "" })}>
          All functions
        </button>
        <a href={address("tasks", { function: name })}>Its tasks in the log</a>
      </p>
      {now?.data.problem && <p class="trouble">{now.data.problem}</p>}
      {now?.tables.durations && (
        <div class="pair">
          <Histogram title="How long its calls took" table={now.tables.durations} />
          <Histogram title="How long they waited for a worker" table={now.tables.queued} />
        </div>
      )}
      {now?.tables.recent && (
        <>
          <h2>Its last tasks</h2>
          <RecentTasks table={now.tables.recent} without="function" />
        </>
      )}
    </>
  );
}

function Histogram({ title, table }: { title: string; table: Table }) {
  const counts = table.columns.count as Numbers;
  const from = table.columns.from_s as Numbers;
  const to = table.columns.to_s as Numbers;
  const most = Math.max(1, ...Array.from(counts));
  return (
    <section>
      <h2>{title}</h2>
      {table.rows === 0 && <p class="quiet">None has ended yet.</p>}
      <ul class="bars" tabIndex={0} aria-label={title}>
        {Array.from(counts, (number, i) => (
          <li key={from[i]}>
            <span class="name">
              {seconds(from[i])} to {seconds(to[i])}
            </span>
            <meter min={0} max={most} value={number} aria-label={`calls from ${seconds(from[i])}`} />
            <span>{count(number)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

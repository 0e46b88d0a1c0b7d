// Workers: all of them, one row each. Enter or a click shows one.

import { useState } from "preact/hooks";
import { bytes, count, percent, seconds } from "../format";
import { go } from "../route";
import { DataTable, type Field } from "../parts/table";
import { Toolbar } from "../parts/toolbar";
import { useView } from "../parts/use_view";
import { workerState } from "../parts/words";
import { Waiting } from "./overview";

export const FIELDS: Field[] = [
  { name: "name", title: "Worker", text: true },
  { name: "host", title: "Host", text: true, minor: true },
  { name: "state", title: "State", show: workerState, hint: "runs, waits for another task, stopping, …" },
  { name: "function", title: "Runs", text: true },
  { name: "since_s", title: "Since", show: seconds, hint: "how long it has run what it runs" },
  { name: "cpu_share", title: "CPU", show: percent, hint: "100 % is one core" },
  { name: "rss_bytes", title: "Memory", show: bytes, hint: "resident" },
  { name: "host_free_bytes", title: "Free", show: bytes, hint: "memory that its host has left", minor: true },
  { name: "held", title: "Has", show: count, hint: "tasks that it has, running ones included" },
  { name: "free", title: "Slots", show: count, hint: "tasks that it may still be given", minor: true },
  { name: "load_s", title: "Load", show: seconds, hint: "how long it is expected to be busy", minor: true },
  { name: "sent", title: "Sent", show: count, hint: "calls ever given to it" },
  { name: "succeeded", title: "Succeeded", show: count },
  { name: "failed", title: "Failed", show: count },
  { name: "in_place", title: "In place", show: count, hint: "calls that its tasks have run themselves", minor: true },
  { name: "busy_s", title: "Busy", show: seconds, hint: "sum of all durations", minor: true },
  { name: "pid", title: "Process", show: (pid) => String(pid), minor: true },
  { name: "joined_s", title: "Here for", show: seconds, minor: true },
];

export function Workers() {
  const now = useView("workers");
  const [shown, setShown] = useState(0);
  if (!now) return <Waiting />;
  const table = now.tables.rows;
  const names = table.columns.name as string[];
  return (
    <div class="fill">
      <h1>Workers</h1>
      <Toolbar shown={shown} of={table.rows} what="workers" download="workers" />
      <DataTable
        label="Workers"
        table={table}
        fields={FIELDS}
        keyOf={(row) => names[row]}
        sort="name"
        onOpen={(row) => go("worker", { name: names[row] })}
        onCount={setShown}
      />
    </div>
  );
}

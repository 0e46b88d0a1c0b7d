// Workers: all of them, one row each. Enter or a click shows one.

import { bytes, count, percent, seconds } from "../format";
import { go } from "../route";
import type { Field } from "../parts/table";
import { TableView } from "../parts/table_view";
import { workerState } from "../parts/words";

const FIELDS: Field[] = [
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
  return (
    <TableView
      view="workers"
      title="Workers"
      fields={FIELDS}
      sort="name"
      keyOf={({ name }, row) => String(name[row])}
      onOpen={({ name }, row) => go("worker", { name: String(name[row]) })}
    />
  );
}

// The task log: the last tasks that ended, newest first. The server filters, since it keeps a million of them.

import type { Table } from "../feed";
import { count, moment, seconds, task } from "../format";
import { address, go, route, set } from "../route";
import { DataTable, type Field } from "../parts/table";
import { Select, Toolbar } from "../parts/toolbar";
import { useView } from "../parts/use_view";
import { outcome } from "../parts/words";
import { Waiting } from "../parts/waiting";

const FIELDS: Field[] = [
  { name: "end", title: "Ended", show: (end) => moment(end) },
  { name: "outcome", title: "Outcome", show: (number) => <span data-outcome={number}>{outcome(number)}</span> },
  { name: "function", title: "Function", text: true },
  { name: "worker", title: "Worker", text: true },
  { name: "duration_s", title: "Took", show: seconds },
  { name: "queued_s", title: "Queued", show: seconds, hint: "from when it could run until a worker began it", minor: true },
  { name: "calls", title: "Calls", show: (calls) => (calls === 255 ? "255 or more" : String(calls)), minor: true },
  { name: "task", title: "Task", show: task },
];

const OUTCOMES: [string, string][] = [
  ["", "any"],
  ["bad", "all but succeeded"],
  ["succeeded", "succeeded"],
  ["failed", "failed"],
  ["cancelled", "cancelled"],
  ["lost", "lost with its worker"],
  ["stopped", "stopped at its time limit"],
  ["refused", "refused"],
];

const LEAST: [string, string][] = [
  ["0", "any time"],
  ["0.001", "1 ms or more"],
  ["0.1", "0.1 s or more"],
  ["1", "1 s or more"],
  ["10", "10 s or more"],
  ["60", "1 min or more"],
];

export function TaskLog() {
  const { query } = route.value;
  const given = {
    function: query.function ?? "",
    worker: query.worker ?? "",
    outcome: query.outcome ?? "",
    task: query.task ?? "",
    least_s: Number(query.least ?? 0),
  };
  const now = useView("tasks", given);
  return (
    <div class="fill">
      <h1>Task log</h1>
      <Toolbar filter={false} what="" download="tasks">
        <Text label="Function" name="function" />
        <Text label="Worker" name="worker" />
        <Text label="Task" name="task" />
        <Select label="Outcome" name="outcome" options={OUTCOMES} />
        <Select label="Took" name="least" options={LEAST} />
      </Toolbar>
      {!now && <Waiting />}
      {now && (
        <>
          <p class="quiet" role="status" data-shown={now.data.shown}>
            {count(now.data.shown)} of {count(now.data.matched)} that match, of the last {count(now.data.kept)} tasks
          </p>
          <DataTable
            label="Tasks"
            table={now.tables.rows}
            fields={FIELDS}
            keyOf={(row) => `${task(now.tables.rows.columns.task[row] as bigint)}/${now.tables.rows.columns.end[row]}`}
            sort="-end"
            isFiltered
            onOpen={(row) => go("task", { task: task(now.tables.rows.columns.task[row] as bigint) })}
          />
        </>
      )}
    </div>
  );
}

function Text({ label, name }: { label: string; name: string }) {
  return (
    <label>
      {label}
      <input
        type="search"
        value={route.value.query[name] ?? ""}
        placeholder={name === "task" ? "its whole id" : "text; !text: without"}
        onInput={(event) => set({ [name]: (event.target as HTMLInputElement).value })}
      />
    </label>
  );
}

export function RecentTasks({ table, without }: { table: Table; without?: string }) {
  const ids = table.columns.task;
  return (
    <div class="short">
      <DataTable
        label="Last tasks"
        table={table}
        fields={FIELDS.filter((field) => field.name !== without)}
        keyOf={(row) => `${task(ids[row] as bigint)}/${table.columns.end[row]}`}
        sort="-end"
        isFiltered
        onOpen={(row) => go("task", { task: task(ids[row] as bigint) })}
      />
    </div>
  );
}

export function taskAddress(id: bigint | number): string {
  return address("task", { task: task(id) });
}

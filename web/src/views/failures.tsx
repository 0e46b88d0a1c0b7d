// Failures: failed calls grouped by exception and the line that raised it. A row shows its last traceback.

import { useState } from "preact/hooks";
import { count, seconds, task } from "../format";
import { address, route, set } from "../route";
import { open } from "../feed";
import { DataTable, type Field } from "../parts/table";
import { Toolbar } from "../parts/toolbar";
import { useView } from "../parts/use_view";
import { Waiting } from "./overview";

const FIELDS: Field[] = [
  { name: "exception", title: "Exception", text: true },
  { name: "place", title: "Raised at", text: true },
  { name: "function", title: "Function", text: true },
  { name: "count", title: "Calls", show: count },
  { name: "last_s", title: "Last", show: (age) => `${seconds(age)} ago` },
  { name: "first_s", title: "First", show: (age) => `${seconds(age)} ago`, minor: true },
  { name: "message", title: "Last message", text: true },
  { name: "worker", title: "Worker", text: true, minor: true },
];

export function Failures() {
  const { exception, place } = route.value.query;
  if (exception !== undefined) return <Failure exception={exception} place={place ?? ""} />;
  return <Groups />;
}

function Groups() {
  const now = useView("failures");
  const [shown, setShown] = useState(0);
  if (!now) return <Waiting />;
  const table = now.tables.rows;
  const { exception, place, function: name } = table.columns as Record<string, string[]>;
  return (
    <div class="fill">
      <h1>Failures</h1>
      <Toolbar shown={shown} of={table.rows} what="kinds of failures" download="failures" />
      <DataTable
        label="Failures"
        table={table}
        fields={FIELDS}
        keyOf={(row) => `${exception[row]} ${place[row]} ${name[row]}`}
        sort="-count"
        onCount={setShown}
        onOpen={(row) => set({ exception: exception[row], place: place[row], task: task(table.columns.task[row] as any) })}
      />
    </div>
  );
}

function Failure({ exception, place }: { exception: string; place: string }) {
  const now = useView("failure", { exception, place });
  const id = route.value.query.task;
  return (
    <>
      <h1>{exception}</h1>
      <p>
        <button
          type="button"
          onClick={() => {
            set({ exception: "", place: "", task: "" });
            open("failures", {});
          }}
        >
          All failures
        </button>
      </p>
      <p>
        {place} {id && <a href={address("task", { task: id })}>task {id}</a>}
      </p>
      {now && (
        <>
          <p>{now.data.message}</p>
          <pre data-traceback tabIndex={0}>
            {now.data.traceback || "The scheduler has no traceback of it any more."}
          </pre>
        </>
      )}
    </>
  );
}

// Failures: failed calls grouped by exception and the line that raised it. A row shows its last traceback.

import { count, seconds, task } from "../format";
import { address, route, set } from "../route";
import { open } from "../feed";
import type { Field } from "../parts/table";
import { TableView } from "../parts/table_view";
import { useView } from "../parts/use_view";

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
  return (
    <TableView
      view="failures"
      title="Failures"
      what="kinds of failures"
      fields={FIELDS}
      sort="-count"
      keyOf={({ exception, place, function: name }, row) => `${exception[row]} ${place[row]} ${name[row]}`}
      onOpen={({ exception, place, task: id }, row) =>
        set({ exception: String(exception[row]), place: String(place[row]), task: task(id[row] as bigint) })
      }
    />
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

// Clients: who submits, how far that has come, and whether it reads its results.

import { useState } from "preact/hooks";
import { bytes, count, seconds } from "../format";
import { DataTable, type Field } from "../parts/table";
import { Toolbar } from "../parts/toolbar";
import { useView } from "../parts/use_view";
import { clientState } from "../parts/words";
import { Waiting } from "./overview";

const FIELDS: Field[] = [
  { name: "name", title: "Client", text: true },
  { name: "host", title: "Host", text: true, minor: true },
  { name: "state", title: "State", show: clientState },
  { name: "submitted", title: "Submitted", show: count },
  { name: "succeeded", title: "Succeeded", show: count },
  { name: "failed", title: "Failed", show: count },
  { name: "cancelled", title: "Cancelled", show: count, minor: true },
  { name: "waiting", title: "Wait for tasks", show: count },
  { name: "ready", title: "Wait for a worker", show: count },
  { name: "placed", title: "On workers", show: count },
  { name: "unread", title: "Not read", show: count, hint: "ended, and it has not read the result" },
  { name: "kept_bytes", title: "Kept for it", show: bytes, hint: "of its quota" },
  { name: "quota_bytes", title: "Quota", show: bytes, minor: true },
  { name: "objects", title: "Objects", show: count, minor: true },
  { name: "object_bytes", title: "Their bytes", show: bytes, minor: true },
  { name: "pid", title: "Process", show: (pid) => String(pid), minor: true },
  { name: "joined_s", title: "Here for", show: seconds, minor: true },
  { name: "heard_s", title: "Heard", show: (age) => `${seconds(age)} ago`, minor: true },
];

export function Clients() {
  const now = useView("clients");
  const [shown, setShown] = useState(0);
  if (!now) return <Waiting />;
  const table = now.tables.rows;
  const names = table.columns.name as string[];
  return (
    <div class="fill">
      <h1>Clients</h1>
      <Toolbar shown={shown} of={table.rows} what="clients" download="clients" />
      <DataTable
        label="Clients"
        table={table}
        fields={FIELDS}
        keyOf={(row) => `${names[row]} ${row}`}
        sort="-submitted"
        onCount={setShown}
      />
    </div>
  );
}

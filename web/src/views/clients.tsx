// Clients: who submits, how far that has come, and whether it reads its results.

import { bytes, count, seconds } from "../format";
import type { Field } from "../parts/table";
import { TableView } from "../parts/table_view";
import { clientState } from "../parts/words";

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
  return (
    <TableView
      view="clients"
      title="Clients"
      fields={FIELDS}
      sort="-submitted"
      keyOf={({ name }, row) => `${name[row]} ${row}`}
    />
  );
}

// Hosts: the machines, their memory, and the supervisors of their workers.

import { useState } from "preact/hooks";
import { bytes, count, percent, seconds } from "../format";
import { go } from "../route";
import { DataTable, type Field } from "../parts/table";
import { Toolbar } from "../parts/toolbar";
import { useView } from "../parts/use_view";
import { Waiting } from "./overview";

const FIELDS: Field[] = [
  { name: "name", title: "Host", text: true },
  { name: "cluster", title: "Clusters", text: true },
  { name: "cores", title: "Cores", show: count },
  { name: "workers", title: "Workers", show: count },
  { name: "running", title: "Running", show: count, hint: "workers that run a task" },
  { name: "worker_rss_bytes", title: "Their memory", show: bytes },
  { name: "memory_free_bytes", title: "Memory free", show: bytes },
  { name: "memory_total_bytes", title: "of", show: bytes, minor: true },
  { name: "shared_memory_free_bytes", title: "/dev/shm free", show: bytes },
  { name: "shared_memory_total_bytes", title: "of", show: bytes, minor: true },
  { name: "objects", title: "Objects", show: count, minor: true },
  { name: "object_bytes", title: "Their bytes", show: bytes },
  { name: "agent_cpu_share", title: "Supervisor CPU", show: percent, minor: true },
  { name: "agent_rss_bytes", title: "Supervisor memory", show: bytes, minor: true },
  { name: "agent_pid", title: "Process", show: (pid) => String(pid), minor: true },
  { name: "lag_s", title: "Lag", show: seconds, hint: "of its last heartbeat" },
  { name: "heard_s", title: "Heard", show: (age) => `${seconds(age)} ago` },
];

export function Hosts() {
  const now = useView("hosts");
  const [shown, setShown] = useState(0);
  if (!now) return <Waiting />;
  const table = now.tables.rows;
  const names = table.columns.name as string[];
  return (
    <div class="fill">
      <h1>Hosts</h1>
      <Toolbar shown={shown} of={table.rows} what="hosts" download="hosts" />
      <DataTable
        label="Hosts"
        table={table}
        fields={FIELDS}
        keyOf={(row) => `${names[row]} ${row}`}
        sort="name"
        onCount={setShown}
        onOpen={(row) => go("workers", { filter: names[row] })}
      />
    </div>
  );
}

// Hosts: the machines, their memory, and the supervisors of their workers.

import { bytes, count, percent, seconds } from "../format";
import { go } from "../route";
import type { Field } from "../parts/table";
import { TableView } from "../parts/table_view";

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
  return (
    <TableView
      view="hosts"
      title="Hosts"
      fields={FIELDS}
      sort="name"
      keyOf={({ name }, row) => `${name[row]} ${row}`}
      onOpen={({ name }, row) => go("workers", { filter: String(name[row]) })}
    />
  );
}

// Objects and memory: how much there is, whose it is, and on which host it lies.

import type { Numbers } from "../feed";
import { bytes, count } from "../format";
import { route } from "../route";
import { Chart } from "../parts/chart";
import { DataTable, type Field } from "../parts/table";
import { Downloads, Select, SPANS } from "../parts/toolbar";
import { useView } from "../parts/use_view";
import { Waiting } from "../parts/waiting";
import { Fact } from "./worker";

const BY_CLIENT: Field[] = [
  { name: "name", title: "Client", text: true },
  { name: "objects", title: "Objects", show: count },
  { name: "object_bytes", title: "Bytes", show: bytes },
  { name: "kept_bytes", title: "Kept for its tasks", show: bytes },
  { name: "quota_bytes", title: "Of a quota of", show: bytes, minor: true },
];
const BY_HOST: Field[] = [
  { name: "name", title: "Host", text: true },
  { name: "objects", title: "Objects", show: count },
  { name: "object_bytes", title: "Bytes", show: bytes },
  { name: "shared_memory_free_bytes", title: "/dev/shm free", show: bytes },
  { name: "shared_memory_total_bytes", title: "of", show: bytes, minor: true },
];

export function Objects() {
  const now = useView("objects", { span: Number(route.value.query.span ?? 600) });
  if (!now) return <Waiting />;
  const series = now.tables.series.columns;
  const numbers = (name: string) => series[name] as Numbers;
  return (
    <>
      <h1>Objects and memory</h1>
      <dl class="facts">
        <Fact name="Objects" value={count(now.data.objects)} />
        <Fact name="Their bytes, shared ones once" value={bytes(now.data.object_bytes)} />
        <Fact name="Results kept for dependants" value={bytes(now.data.kept_result_bytes)} />
        <Fact name="Kept for open tasks" value={bytes(now.data.queued_bytes)} />
        <Fact
          name="/dev/shm of the scheduler's host"
          value={`${bytes(now.data.shared_memory_free_bytes)} free of ${bytes(now.data.shared_memory_total_bytes)}`}
        />
      </dl>
      <div class="toolbar">
        <Select label="Time" name="span" options={SPANS} value="600" />
        <span class="grow" />
        <Downloads view="objects" />
      </div>
      <Chart
        title="Memory over time"
        show={bytes}
        times={numbers("time")}
        lines={[
          { label: "objects", values: numbers("object_bytes") },
          { label: "workers", values: numbers("worker_rss") },
          { label: "/dev/shm used", values: numbers("shared_memory_used") },
          { label: "open tasks", values: numbers("queued_bytes") },
          { label: "kept results", values: numbers("kept_result_bytes") },
        ]}
      />
      {now.tables.clients && (
        <>
          <h2>By client that made them</h2>
          <div class="short">
            <DataTable
              label="Objects by client"
              table={now.tables.clients}
              fields={BY_CLIENT}
              keyOf={(row) => String(row)}
              sort="-object_bytes"
              isFiltered
            />
          </div>
        </>
      )}
      {now.tables.hosts && (
        <>
          <h2>By host that they are on</h2>
          <div class="short">
            <DataTable
              label="Objects by host"
              table={now.tables.hosts}
              fields={BY_HOST}
              keyOf={(row) => String(row)}
              sort="-object_bytes"
              isFiltered
            />
          </div>
        </>
      )}
    </>
  );
}

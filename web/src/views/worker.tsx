// One worker: what it does, how it has been over the last ten minutes, its last tasks and its failures.

import type { Numbers } from "../feed";
import { bytes, count, percent, rate, seconds } from "../format";
import { address, route } from "../route";
import { Chart } from "../parts/chart";
import { useView } from "../parts/use_view";
import { workerState } from "../parts/words";
import { Waiting } from "../parts/waiting";
import { RecentTasks } from "./tasks";

export function Worker() {
  const name = route.value.query.name ?? "";
  const now = useView("worker", { name });
  if (!now) return <Waiting />;
  const { row, problem, failures } = now.data;
  const history = now.tables.history?.columns;
  const numbers = (column: string) => history[column] as Numbers;
  return (
    <>
      <h1>Worker {name}</h1>
      <p class="links">
        <a href={address("stream", { worker: name })}>Its lane in the task stream</a>
        <a href={address("tasks", { worker: name })}>Its tasks in the log</a>
      </p>
      {problem && <p class="trouble">{problem}</p>}
      {!problem && !row && <p class="trouble">It is gone. What is below is what was seen of it.</p>}
      {row && (
        <dl class="facts">
          <Fact name="State" value={workerState(row.state)} />
          <Fact name="Runs" value={row.function || "nothing"} />
          <Fact name="Since" value={seconds(row.since_s)} />
          <div>
            <dt>Task</dt>
            <dd>{row.task ? <a href={address("task", { task: row.task })}>{row.task}</a> : "none"}</dd>
          </div>
          <Fact name="Host" value={row.host} />
          <Fact name="Process" value={String(row.pid)} />
          <Fact name="CPU" value={percent(row.cpu_share)} />
          <Fact name="Memory" value={bytes(row.rss_bytes)} />
          <Fact name="Has" value={`${count(row.held)} tasks, room for ${count(row.free)}`} />
          <Fact name="Expected to be busy for" value={seconds(row.load_s)} />
          <Fact name="Sent to it" value={count(row.sent)} />
          <Fact name="Succeeded" value={count(row.succeeded)} />
          <Fact name="Failed" value={count(row.failed)} />
          <Fact name="Run in place by its tasks" value={count(row.in_place)} />
          <Fact name="Here for" value={seconds(row.joined_s)} />
        </dl>
      )}
      {history && (
        <section class="charts" aria-label="Over the last minutes">
          <Chart
            title="CPU"
            show={percent}
            times={numbers("time")}
            lines={[{ label: "of one core", values: numbers("cpu_share") }]}
          />
          <Chart
            title="Memory"
            show={bytes}
            times={numbers("time")}
            lines={[{ label: "resident", values: numbers("rss_bytes") }]}
          />
          <Chart
            title="Calls answered a second"
            show={rate}
            times={numbers("time")}
            lines={[{ label: "calls", values: numbers("rate") }]}
          />
        </section>
      )}
      {failures?.length > 0 && (
        <>
          <h2>Failed last on it</h2>
          <ul>
            {failures.map((each: any) => (
              <li key={each.exception + each.place}>
                <a href={address("failures", { filter: each.exception })}>{each.exception}</a>: {each.message} (
                {each.place})
              </li>
            ))}
          </ul>
        </>
      )}
      {now.tables.recent && (
        <>
          <h2>Its last tasks</h2>
          <RecentTasks table={now.tables.recent} without="worker" />
        </>
      )}
    </>
  );
}

export function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

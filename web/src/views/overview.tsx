// Overview: is it well, what does it do, and how has that been.

import type { Numbers } from "../feed";
import { bytes, count, percent, rate, seconds, short } from "../format";
import { address, route } from "../route";
import { Chart, last } from "../parts/chart";
import { Downloads, Select, SPANS } from "../parts/toolbar";
import { useView } from "../parts/use_view";
import { Waiting } from "../parts/waiting";

const OPEN: [string, string][] = [
  ["waiting", "wait for other tasks"],
  ["ready", "wait for a worker"],
  ["held_back", "held back after a restart"],
  ["placed", "are on workers"],
  ["lent", "lent to tasks that wait"],
  ["doomed", "on workers that died"],
];

export function Overview() {
  const span = route.value.query.span ?? "600";
  const now = useView("overview", { span: Number(span) });
  if (!now) return <Waiting />;
  const series = now.tables.series.columns;
  const numbers = (name: string) => series[name] as Numbers;
  const lines = (...names: [string, string][]) => names.map(([name, label]) => ({ label, values: numbers(name) }));
  const shared = { times: numbers("time"), marks: now.data.restarts as number[] };
  const counts = now.head.counts ?? {};
  const sizes = now.head.sizes ?? {};
  const ended = (counts.succeeded ?? 0) + (counts.failed ?? 0) + (counts.cancelled ?? 0);
  const functions = now.tables.functions.columns;
  return (
    <>
      <h1 class="visually-hidden">Overview</h1>
      <section class="tiles" aria-label="Now">
        <Tile title="Calls ended" value={rate(last(numbers("succeeded_rate")) + last(numbers("failed_rate")))} />
        <Tile title="Open" value={short((counts.submitted ?? 0) - ended)} />
        <Tile title="Succeeded" value={short(counts.succeeded)} full={count(counts.succeeded)} />
        <Tile title="Failed" value={short(counts.failed)} full={count(counts.failed)} to={address("failures")} />
        <Tile title="Cancelled" value={short(counts.cancelled)} full={count(counts.cancelled)} />
        <Tile title="Workers busy" value={percent(last(numbers("busy_share")))} to={address("workers")} />
        <Tile title="Workers" value={count(sizes.workers)} to={address("workers")} />
        <Tile title="Clients" value={count(sizes.clients)} to={address("clients")} />
      </section>
      <Alarms alarms={now.data.alarms} />
      <div class="toolbar">
        <Select label="Time" name="span" options={SPANS} value="600" />
        <span class="grow" />
        <Downloads view="overview" />
      </div>
      <section class="charts" aria-label="Over time">
        <Chart
          title="Calls a second"
          show={short}
          {...shared}
          lines={lines(["succeeded_rate", "succeeded"], ["failed_rate", "failed"], ["submitted_rate", "submitted"])}
        />
        <Chart title="Workers busy" show={percent} most={1} {...shared} lines={lines(["busy_share", "share"])} />
        <Chart
          title="Open calls"
          show={short}
          {...shared}
          lines={lines(["ready", "wait for a worker"], ["waiting", "wait for tasks"], ["placed", "on workers"])}
        />
        <Chart
          title="Memory"
          show={bytes}
          {...shared}
          lines={lines(["worker_rss", "workers"], ["object_bytes", "objects"], ["scheduler_rss", "scheduler"])}
        />
        <Chart
          title="Processor, in cores"
          show={short}
          {...shared}
          lines={lines(["worker_cpu", "workers"], ["scheduler_cpu", "scheduler"])}
        />
        <Chart title="Longest pass of the scheduler" show={seconds} {...shared} lines={lines(["scheduler_lag_s", "pass"])} />
      </section>
      <div class="pair">
        <section>
          <h2>Busiest functions</h2>
          <ul class="bars">
            {(functions.name as string[]).map((name, i) => (
              <li key={name}>
                <a class="name" title={name} href={address("functions", { filter: name })}>
                  {name}
                </a>
                <meter min={0} max={1} value={functions.share[i] as number} aria-label={`share of ${name}`} />
                <span>{percent(functions.share[i] as number)} of the time</span>
              </li>
            ))}
          </ul>
        </section>
        <section>
          <h2>Every call is in one of these</h2>
          <dl class="counts">
            <Count name="submitted" words="submitted: the sum of all below" counts={counts} />
            <Count name="succeeded" words="succeeded" counts={counts} />
            <Count name="failed" words="failed" counts={counts} />
            <Count name="cancelled" words="cancelled" counts={counts} />
            {OPEN.map(([name, words]) => (
              <Count key={name} name={name} words={words} counts={counts} />
            ))}
          </dl>
          <p class="quiet">
            Besides: {count(counts.in_place)} run in place by tasks, {count(counts.retried)} runs beyond the first,{" "}
            {count(counts.stopped)} ended by force, {count(counts.unread)} results not yet read by their clients.
          </p>
        </section>
      </div>
    </>
  );
}

function Tile({ title, value, full, to }: { title: string; value: string; full?: string; to?: string }) {
  const content = (
    <>
      <span class="quiet">{title}</span>
      <b title={full}>{value}</b>
    </>
  );
  return to ? (
    <a class="tile" href={to}>
      {content}
    </a>
  ) : (
    <div class="tile">{content}</div>
  );
}

function Count({ name, words, counts }: { name: string; words: string; counts: Record<string, number> }) {
  return (
    <div>
      <dt>{words}</dt>
      <dd data-count={name}>{count(counts[name])}</dd>
    </div>
  );
}

function Alarms({ alarms }: { alarms: { text: string; view: string }[] }) {
  if (!alarms.length) return <p class="well">✓ Nothing is wrong that the scheduler or this page can see.</p>;
  return (
    <ul class="alarms" aria-label="Alarms">
      {alarms.map((alarm) => (
        <li key={alarm.text}>
          ⚠ {alarm.text} {alarm.view && <a href={address(alarm.view)}>show {alarm.view}</a>}
        </li>
      ))}
    </ul>
  );
}

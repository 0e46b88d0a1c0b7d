// One task: where it stands and why, what its code does just now, how it ended, its traceback, and how to call it again.

import { seconds } from "../format";
import { address, route, set } from "../route";
import { useView } from "../parts/use_view";
import { Waiting } from "../parts/waiting";
import { Fact } from "./worker";
import { RecentTasks } from "./tasks";

export function Task() {
  const { query } = route.value;
  const id = query.task ?? "";
  const wantsStack = query.stack === "1";
  const now = useView("task", { task: id, stack: wantsStack ? "1" : "" });
  if (!now) return <Waiting />;
  const { problem, stands, stack, failure, again } = now.data;
  const events = now.tables.events;
  return (
    <>
      <h1>
        Task <code>{id}</code>
      </h1>
      {problem && <p class="trouble">{problem}</p>}
      {now.data.function && (
        <p>
          Function <a href={address("functions", { filter: now.data.function })}>{now.data.function}</a>
        </p>
      )}
      <h2>Where it stands</h2>
      {stands ? (
        <>
          <p data-sentence>{stands.sentence || stands.state}</p>
          <dl class="facts">
            <Fact name="State" value={stands.state} />
            {stands.worker && <Fact name="Worker" value={stands.worker} />}
            {Object.entries(stands.facts as Record<string, string>).map(([name, value]) => (
              <Fact key={name} name={name} value={value} />
            ))}
          </dl>
          {stands.inputs.length > 0 && (
            <p>
              Waits for{" "}
              {stands.inputs.map((input: string) => (
                <a key={input} href={address("task", { task: input })}>
                  {input}{" "}
                </a>
              ))}
            </p>
          )}
        </>
      ) : (
        <p class="quiet">{now.head.live ? "The scheduler has not answered yet." : "A recording cannot be asked."}</p>
      )}
      {now.head.live && (
        <>
          <h2>What its code does just now</h2>
          {!wantsStack && (
            <button type="button" onClick={() => set({ stack: "1" })}>
              Ask for its stack
            </button>
          )}
          {wantsStack && !stack && <p class="quiet">Asked; no answer yet.</p>}
          {stack?.problem && <p>{stack.problem}</p>}
          {stack?.text && (
            <pre data-stack tabIndex={0}>
              {stack.text}
            </pre>
          )}
        </>
      )}
      {failure && (
        <>
          <h2>How it failed</h2>
          <p>
            <b>{failure.exception}</b>: {failure.message}
          </p>
          <pre data-traceback tabIndex={0}>
            {failure.traceback}
          </pre>
        </>
      )}
      {events?.rows > 0 ? (
        <>
          <h2>How it ended</h2>
          <RecentTasks table={events} />
        </>
      ) : (
        <p class="quiet">It is not among the last tasks that have ended{now.head.live ? "" : " in this recording"}.</p>
      )}
      {again && (
        <>
          <h2>Again</h2>
          <p class="quiet">What it was called with is known to its client alone; this is how to call it.</p>
          <pre data-again tabIndex={0}>
            {again}
          </pre>
          <button type="button" onClick={() => navigator.clipboard?.writeText(again)}>
            Copy
          </button>
        </>
      )}
      {stands && <p class="quiet">Answered {seconds(stands.age_s)} before the last report.</p>}
    </>
  );
}

// The list of keys.

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { VIEWS } from "../views";

export const isHelpOpen = signal(false);

const OTHERS: [string, string][] = [
  ["/", "to the filter"],
  ["Tab", "to the next control or table"],
  ["↑ ↓ Page Home End", "in a table: to another row"],
  ["Enter", "in a table: details of the row; on a column's name: sort by it, again: reverse"],
  ["← → + − 0", "in the task stream: earlier, later, closer, wider, now"],
  ["space", "pause, or go on"],
  ["t", "light, dark, or as the system has it"],
  ["Backspace", "back from a worker or a task"],
  ["?", "this list"],
];

export function Keys() {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (isHelpOpen.value) box.current?.showModal();
    else box.current?.close();
  }, [isHelpOpen.value]);
  return (
    <dialog ref={box} aria-label="Keys" onClose={() => (isHelpOpen.value = false)}>
      <h2>Keys</h2>
      <dl class="keys">
        {VIEWS.filter((view) => view.key).map((view) => (
          <div key={view.name}>
            <dt>{view.key}</dt>
            <dd>{view.title}</dd>
          </div>
        ))}
        {OTHERS.map(([key, what]) => (
          <div key={key}>
            <dt>{key}</dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <button type="button" onClick={() => (isHelpOpen.value = false)}>
        Close
      </button>
    </dialog>
  );
}

// What most views begin with: ask the server for this view while it is open.

import { useEffect } from "preact/hooks";
import { message, open, type Arguments, type Message } from "../feed";

/** The last message of this view, or null while there is none yet. */
export function useView(view: string, given: Arguments = {}): Message | null {
  useEffect(() => open(view, given), [view, JSON.stringify(given)]);
  const now = message.value;
  return now && now.view === view ? now : null;
}

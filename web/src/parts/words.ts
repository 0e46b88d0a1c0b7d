// Bits and numbers of the reports in words (protocol/monitor.capnp says what they mean).

const WORKER: [number, string][] = [
  [32, "suspended"],
  [16, "no room"],
  [8, "stopping"],
  [4, "old task"],
  [2, "waits"],
  [1, "runs"],
];

export function workerState(bits: number): string {
  const words = WORKER.filter(([bit]) => bits & bit).map(([, word]) => word);
  return words.length ? words.join(", ") : "idle";
}

const CLIENT: [number, string][] = [
  [8, "gone"],
  [4, "over quota"],
  [2, "does not read"],
  [1, "a worker's tasks"],
];

export function clientState(bits: number): string {
  const words = CLIENT.filter(([bit]) => bits & bit).map(([, word]) => word);
  return words.length ? words.join(", ") : "fine";
}

export const OUTCOMES = ["succeeded", "failed", "cancelled", "lost", "stopped", "refused"];
const SIGNS = ["✓", "✗", "∅", "†", "⏱", "⊘"];

export function outcome(number: number): string {
  return `${SIGNS[number] ?? "?"} ${OUTCOMES[number] ?? number}`;
}

// Filters: a text that a row must have, as a regular expression if it is one, after ! one that it must not have.

export function makeFilter(text: string): (row: string) => boolean {
  let wanted = text.trim();
  if (!wanted) return () => true;
  const without = wanted.startsWith("!");
  if (without) wanted = wanted.slice(1).trim();
  if (!wanted) return () => true;
  let found: (row: string) => boolean;
  try {
    const pattern = new RegExp(wanted, "i");
    found = (row) => pattern.test(row);
  } catch {
    const lower = wanted.toLowerCase();
    found = (row) => row.toLowerCase().includes(lower);
  }
  return without ? (row) => !found(row) : found;
}

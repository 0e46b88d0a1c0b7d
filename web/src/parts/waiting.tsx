// What stands where a view will be, until the first message of it has come.

export function Waiting() {
  return <p class="quiet">Waiting for the first report…</p>;
}

// Numbers and times in words, short enough for a column. Units are always there; what is unknown is a dash.

export const DASH = "–";

function isUnknown(value: number | null | undefined): value is null | undefined {
  return value === null || value === undefined || Number.isNaN(value);
}

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export function count(value: number | null | undefined): string {
  return isUnknown(value) ? DASH : grouped.format(value);
}

/** 12,345 as 12.3 k, for axes and tiles. */
export function short(value: number | null | undefined): string {
  if (isUnknown(value)) return DASH;
  const size = Math.abs(value);
  if (size >= 1e9) return `${digits(value / 1e9)} G`;
  if (size >= 1e6) return `${digits(value / 1e6)} M`;
  if (size >= 1e4) return `${digits(value / 1e3)} k`;
  return size >= 100 || Number.isInteger(value) ? grouped.format(value) : digits(value);
}

function digits(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(value: number | null | undefined): string {
  if (isUnknown(value)) return DASH;
  let step = 0;
  while (Math.abs(value) >= 1000 && step < BYTES.length - 1) {
    value /= 1024;
    step += 1;
  }
  return `${step ? digits(value) : value.toFixed(0)} ${BYTES[step]}`;
}

export function seconds(value: number | null | undefined): string {
  if (isUnknown(value)) return DASH;
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 1e-6) return `${digits(value * 1e9)} ns`;
  if (size < 1e-3) return `${digits(value * 1e6)} µs`;
  if (size < 1) return `${digits(value * 1e3)} ms`;
  if (size < 100) return `${digits(value)} s`;
  if (size < 6000) return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
  if (size < 172800) return `${Math.floor(value / 3600)} h ${Math.round((value % 3600) / 60)} min`;
  return `${digits(value / 86400)} days`;
}

export function percent(value: number | null | undefined): string {
  if (isUnknown(value)) return DASH;
  const near = value < 0.1 || (value > 0.99 && value < 1);
  return `${(100 * value).toFixed(near && value !== 0 ? 1 : 0)} %`;
}

export function rate(value: number | null | undefined): string {
  return isUnknown(value) ? DASH : `${short(value)}/s`;
}

// By hand: toLocaleTimeString may make a formatter at each call, and a log has forty times in sight.
function two(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}

export function clock(value: number): string {
  const time = new Date(value * 1000);
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

export function moment(value: number): string {
  const time = new Date(value * 1000);
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${clock(value)}`;
}

/** A task's id as its sixteen digits. */
export function task(value: bigint | number): string {
  return value ? BigInt(value).toString(16).padStart(16, "0") : "";
}

// The one wrapper around uPlot: lines over time, with the values under the pointer, and a text for who sees no lines.
//
// Rule 1: nothing else imports uPlot.
// Rule 2: lines differ by dashes as well as by colour, and the last values stand as text beneath.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { bytes, clock } from "../format";
import { colours } from "./colours";
import { isDark, theme } from "../settings";

export interface Line {
  label: string;
  values: ArrayLike<number>;
  show?: (value: number) => string;
}

interface Props {
  title: string;
  times: ArrayLike<number>;
  lines: Line[];
  show: (value: number) => string;
  most?: number; // of the axis, if it is known
  height?: number;
  marks?: number[]; // times at which another scheduler took over
}

const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3], [1, 2]];

const BINARY = Array.from({ length: 50 }, (_, i) => 2 ** i);

function known(values: ArrayLike<number>): (number | null)[] {
  return Array.from(values, (value) => (Number.isNaN(value) ? null : value));
}

export function Chart(props: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const marks = useRef<number[]>([]);
  marks.current = props.marks ?? [];
  const dark = isDark();
  const names = props.lines.map((line) => line.label).join("|");

  useEffect(() => {
    const look = colours(dark);
    const axis = { stroke: look.quiet, grid: { stroke: look.line, width: 1 }, ticks: { show: false }, font: look.font };
    const height = props.height ?? 150;
    const made = new uPlot(
      {
        width: box.current!.clientWidth || 300,
        height,
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 5 } },
        padding: [8, 8, 0, 0],
        scales: { x: { time: true }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), top(high, props.most)] } },
        axes: [
          { ...axis, size: 24, values: (_, ticks) => ticks.map((tick) => clock(tick).slice(0, 5)), space: 60 },
          {
            ...axis,
            size: 62,
            values: (_, ticks) => ticks.map((tick) => props.show(tick)),
            space: 28,
            ...(props.show === bytes ? { incrs: BINARY } : {}),
          },
        ],
        series: [
          {},
          ...props.lines.map((line, i) => ({
            label: line.label,
            stroke: look.series[i % look.series.length],
            width: 1.5,
            dash: DASHES[i % DASHES.length],
            points: { show: false },
            spanGaps: false,
          })),
        ],
        hooks: { draw: [(self: uPlot) => drawMarks(self, marks.current, look.bad)], setCursor: [(self) => tell(self)] },
      },
      data(props),
      box.current!,
    );
    plot.current = made;
    const sizes = new ResizeObserver(() => made.setSize({ width: box.current?.clientWidth || 300, height }));
    sizes.observe(box.current!);
    return () => {
      sizes.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [names, dark, theme.value]);

  useEffect(() => plot.current?.setData(data(props)), [props.times, ...props.lines.map((line) => line.values)]);

  const tip = useRef<HTMLSpanElement>(null);
  function tell(self: uPlot): void {
    const at = self.cursor.idx;
    if (!tip.current) return;
    tip.current.textContent = at === null || at === undefined ? "" : clock(self.data[0][at]);
    box.current?.parentElement?.querySelectorAll<HTMLElement>("[data-line]").forEach((place, i) => {
      const value = at === null || at === undefined ? last(props.lines[i].values) : self.data[i + 1][at];
      place.textContent = (props.lines[i].show ?? props.show)(value as number);
    });
  }

  const look = colours(dark);
  return (
    <figure class="chart">
      <figcaption>
        <b>{props.title}</b> <span class="quiet" ref={tip} />
      </figcaption>
      <div ref={box} aria-hidden="true" />
      <ul class="legend" aria-label={`${props.title}, now`}>
        {props.lines.map((line, i) => (
          <li key={line.label}>
            <svg width="22" height="8" aria-hidden="true">
              <line
                x1="0"
                x2="22"
                y1="4"
                y2="4"
                stroke={look.series[i % look.series.length]}
                stroke-width="2"
                stroke-dasharray={DASHES[i % DASHES.length].join(" ")}
              />
            </svg>
            {line.label} <span data-line>{(line.show ?? props.show)(last(line.values))}</span>
          </li>
        ))}
      </ul>
    </figure>
  );
}

function data(props: Props): uPlot.AlignedData {
  return [Array.from(props.times), ...props.lines.map((line) => known(line.values))] as uPlot.AlignedData;
}

/** The last value, if one of the last three is known. */
export function last(values: ArrayLike<number>): number {
  for (let i = values.length - 1; i >= Math.max(0, values.length - 3); i -= 1) {
    if (!Number.isNaN(values[i])) return values[i];
  }
  return NaN;
}

function top(high: number | null, most?: number): number {
  if (most !== undefined) return Math.max(most, high ?? 0);
  return high && high > 0 ? high * 1.1 : 1;
}

function drawMarks(plot: uPlot, marks: number[], colour: string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.setLineDash([4, 4]);
  for (const mark of marks) {
    const x = plot.valToPos(mark, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

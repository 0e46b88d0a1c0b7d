"""Plots of what was measured last, as SVG: `make figures` writes them beside docs/figures.md.

Bars from zero on a linear scale, since a bar on another scale shows something else than it seems to; the worst round is
a mark on the bar. Below stand the machine, the commit, the date and the command that measures it again.

Rule 1: what is drawn is in the record, with the words of the record. Nothing is typed by hand.
Not here: what a row means (perf/README.md), the record (figures).
"""

from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from perf.report import show

WIDTH, LABEL, RIGHT, BAR, STEP, TOP = 720, 190, 130, 20, 30, 46
OURS, OTHERS, MARK = "#0f766e", "#9aa5b1", "#102a43"


@dataclass(frozen=True)
class Plot:
    """Bars of these figures of a row, each under the name that it has in the plot."""

    row: str
    title: str
    bars: tuple[tuple[str, str], ...]

    @property
    def file(self) -> str:
        return f"figures-{self.row.replace('.', '-')}.svg"


PLOTS = (
    Plot(
        "tasks.submit",
        "50,000 single calls, submitted and all results read: more is better",
        (
            ("Pool", "multiprocessing.Pool"),
            ("ProcessPoolExecutor", "ProcessPoolExecutor"),
            ("wire", "Scaler, no shared memory"),
            ("rings", "Scaler, on one host"),
        ),
    ),
    Plot(
        "tasks.latency",
        "One call at a time, each waited for: less is better",
        (
            ("Pool", "multiprocessing.Pool"),
            ("ProcessPoolExecutor", "ProcessPoolExecutor"),
            ("wire", "Scaler, no shared memory"),
            ("rings", "Scaler, on one host"),
        ),
    ),
    Plot(
        "tasks.map",
        "A map over a million calls: more is better",
        (
            ("Pool", "multiprocessing.Pool"),
            ("ProcessPoolExecutor", "ProcessPoolExecutor"),
            ("wire", "Scaler, no shared memory"),
            ("rings", "Scaler, on one host"),
        ),
    ),
    Plot(
        "graph.tree",
        "A graph of 32,767 additions, and as many loose calls of Pool: more is better",
        (
            ("Pool.apply_async", "multiprocessing.Pool"),
            ("wire", "Scaler, no shared memory"),
            ("rings", "Scaler, on one host"),
        ),
    ),
)


def render(plot: Plot, entry: dict[str, Any]) -> str:
    """The plot of a row of the record."""
    figures = {figure["what"]: figure for figure in entry["figures"]}
    bars = [(name, figures[what]) for what, name in plot.bars if what in figures and figures[what]["value"] is not None]
    most = max(max(figure["value"], figure["worst"] or 0) for _, figure in bars)
    scale = (WIDTH - LABEL - RIGHT) / most
    height = TOP + STEP * len(bars) + 44
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" '
        'font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
        f'<text x="16" y="27" font-size="14" font-weight="600" fill="{MARK}">{escape(plot.title)}</text>',
    ]
    for number, (name, figure) in enumerate(bars):
        y = TOP + STEP * number
        color = OURS if name.startswith("Scaler") else OTHERS
        long, worst = (max(1.0, (figure[of] or 0) * scale) for of in ("value", "worst"))
        lines += [
            f'<text x="{LABEL - 8}" y="{y + 15}" text-anchor="end" fill="{MARK}">{escape(name)}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{long:.1f}" height="{BAR}" rx="2" fill="{color}"/>',
            f'<text x="{LABEL + max(long, worst) + 8:.1f}" y="{y + 15}" fill="{MARK}">{show(figure["value"])} '
            f"{escape(figure['unit'])}</text>",
        ]
        if figure["worst"] is not None:
            lines.append(f'<path d="M{LABEL + worst:.1f} {y}v{BAR}" stroke="{MARK}" stroke-width="1.5"/>')
    machine = entry["machine"]
    said = (
        f"{machine['cpu']}, {machine['cores']} cores; Python {machine['python']}; commit {machine['commit']}, "
        f"{machine['date'][:10]}"
    )
    lines += [
        f'<text x="16" y="{height - 26}" font-size="11" fill="#52606d">{escape(said)}</text>',
        f'<text x="16" y="{height - 10}" font-size="11" fill="#52606d">Medians of the rounds; the mark is the worst. '
        f"Measured by {escape(entry['command'])}</text>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"

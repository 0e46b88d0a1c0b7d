"""Plots show what is in the record, to scale, and say where it was measured."""

import json
import re
from xml.etree import ElementTree

import pytest

from perf.figures import PICTURES, RECORD
from perf.plots import LABEL, PLOTS, render

RECORDED = json.loads(RECORD.read_text())
ENTRY = {
    "command": "python -m perf some.row",
    "machine": {"cpu": "a <fast> one", "cores": 2, "python": "3.12.1", "commit": "abc", "date": "2026-01-02T03:04"},
    "figures": [
        {"what": "rings", "value": 400.0, "worst": 300.0, "unit": "tasks/s"},
        {"what": "wire", "value": 100.0, "worst": None, "unit": "tasks/s"},
        {"what": "Pool", "value": None, "worst": None, "unit": "tasks/s"},
    ],
}


def test_bars_have_the_lengths_of_their_values_and_what_was_not_measured_has_none():
    svg = ElementTree.fromstring(render(PLOTS[0], ENTRY))
    bars = [float(bar.attrib["width"]) for bar in svg.findall(".//{*}rect")][1:]
    assert bars[1] == pytest.approx(4 * bars[0], rel=0.01)
    assert len(bars) == 2
    marks = [float(re.findall(r"M([\d.]+)", path.attrib["d"])[0]) for path in svg.findall(".//{*}path")]
    assert [mark - LABEL for mark in marks] == [pytest.approx(0.75 * bars[1], rel=0.01)]
    said = " ".join(text.text or "" for text in svg.findall(".//{*}text"))
    for words in ("a <fast> one", "2 cores", "3.12.1", "commit abc", "2026-01-02", "python -m perf some.row", "400"):
        assert words in said


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.row)
def test_every_plot_is_of_a_row_that_was_measured_and_has_its_bars(plot):
    figures = {figure["what"]: figure["value"] for figure in RECORDED[plot.row]["figures"]}
    assert all(figures[what] for what, _ in plot.bars)
    assert (PICTURES / plot.file).read_text() == render(plot, RECORDED[plot.row])

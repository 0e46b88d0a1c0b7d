"""The check of "Not here" finds names that lead nowhere, and takes those that lead somewhere."""

import pytest

from tests.checks.pointers import ROOT, astray, is_there, pointers


def test_all_of_the_tree_lead_somewhere():
    assert astray() == []


def test_there_is_something_to_check():
    assert list(pointers((ROOT / "scaler/config/table.py").read_text())) == [
        "option", "command_line", "toml_file", "idle",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('"""Why.\n\nNot here: this (there), that (a.b, c).\n"""', ["there", "a.b", "c"]),
        ('"""Why.\n\nNot here: this (there),\nthat (\n`native/x.pyx`).\n"""\nf(x)', ["there", "native/x.pyx"]),
        ("# Not here: this (there),\n# that (elsewhere).\n\nf(x)", ["there", "elsewhere"]),
        ('"""Not here: this (whatever the core says), that (there)."""', ["there"]),
        ('"""It is (here)."""', []),
    ],
)
def test_the_names_of_a_paragraph_are_found(text, names):
    assert list(pointers(text)) == names


@pytest.mark.parametrize(
    "name",
    ["option", "values.payload", "scaler._native", "native/records/bounds.pyx", "Client.pool", "RecordBatch",
     "monitor.top", "docs/options.md", "session.ledger.Ledger"],
)  # fmt: skip
def test_what_is_there_is_found(name):
    assert is_there(name, ROOT / "scaler/config/table.py")


@pytest.mark.parametrize(
    "name",
    ["optiom", "values.paylood", "native/records/bound.pyx", "Client.pol", "docs/optoins.md", "session.ledger.Leger"],
)
def test_what_is_not_there_is_missed(name):
    assert not is_there(name, ROOT / "scaler/config/table.py")

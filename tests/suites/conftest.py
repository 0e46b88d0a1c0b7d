"""Other people's tests, played with our things: `make test-peers`.

They take minutes, and some come with the interpreter or a library only where somebody has installed them with their
tests. So they are no part of `make test`; where one is missing, `make test-peers` says so as the last thing it says.
"""

import os

import pytest

MISSING = pytest.StashKey[list[str]]()
collect_ignore_glob = [] if os.environ.get("SCALER_SUITES") else ["test_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]
    missing = {reason for reason in skipped if "NOT PLAYED" in reason}
    for line in sorted(missing):
        terminalreporter.write_line(line, red=True, bold=True)

"""Others' test cases as ours: which are taken, and which are known to fail, each with its reason.

Rule 1: a test that is said to fail must fail: when it passes, its line goes.
Rule 2: one that hangs, or hurts those after it, is left out; its reason begins with LEFT_OUT.
"""

import unittest
from collections.abc import Callable
from typing import Any

import pytest

LEFT_OUT = "left out: "


def play(
    name: str, bases: tuple[type, ...], known: dict[str, str], attributes: dict[str, Any] | None = None
) -> type[unittest.TestCase]:
    """A test case of these classes, in which the tests that are `known` fail, or are left out."""
    made: Any = type(name, bases, dict(attributes or {}))
    for test in unittest.defaultTestLoader.getTestCaseNames(made):
        reason = known.get(test)
        if reason is not None:
            setattr(made, test, _marked(getattr(made, test), reason))
    missing = [test for test in known if not hasattr(made, test)]
    made.known_of_other_versions = missing
    kind: type[unittest.TestCase] = made
    return kind


def _marked(function: Callable[..., Any], reason: str) -> Any:
    if reason.startswith(LEFT_OUT):

        def left_out(self: unittest.TestCase) -> None:
            self.skipTest(reason)

        return left_out

    def must_fail(self: unittest.TestCase) -> None:
        try:
            function(self)
        except unittest.SkipTest:
            raise
        except BaseException:
            pytest.xfail(reason)
        self.fail(f"it passes, though it is said not to: {reason}")

    return must_fail

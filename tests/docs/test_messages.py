"""Every sentence of an error that a user can meet is on the page about troubleshooting."""

import re

import pytest

from tests.docs.messages import GAP, Message, messages
from tests.docs.pages import ROOT

PAGE = ROOT / "docs/troubleshooting.md"
MESSAGES = {message.text: message for message in messages()}


def plain(text: str) -> str:
    """Without marks of code, in one line."""
    return " ".join(re.sub(r"`", "", text).split())


def test_there_are_messages_of_every_kind():
    assert len(MESSAGES) > 200
    assert any(message.where.startswith("native/") for message in MESSAGES.values())
    assert "this client is disconnected; make a new one" in MESSAGES
    assert f"the scheduler at {GAP} refused: {GAP}" in MESSAGES
    assert "one of its inputs failed" in MESSAGES


@pytest.fixture(scope="module")
def entries() -> set[str]:
    """The sentences that the page has, each a line of a list."""
    return {plain(line.removeprefix("* ")) for line in PAGE.read_text().splitlines() if line.startswith("* `")}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=lambda message: message.text[:60])
def test_a_message_is_explained(message: Message, entries):
    assert plain(message.text) in entries, (
        f"{message.where} says this, and docs/troubleshooting.md does not have it as a line of a list: "
        f"* `{' '.join(message.text.split())}`"
    )


def test_every_entry_is_followed_by_what_to_do():
    parts = re.split(r"\n\n", PAGE.read_text())
    for part, after in zip(parts, [*parts[1:], ""], strict=True):
        if part.startswith("* `"):
            assert after, part
            assert not after.startswith(("* `", "#")), f"nothing is said about {part}"

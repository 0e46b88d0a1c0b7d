"""DeathFacts: what may be said of a worker's death, whichever process says it.

A supervisor finds the facts out, and they reach the task's client through the scheduler, perhaps by way of another
host's relay. Each of them passes here what it was told before it does anything with it, and hands on only what comes
out: keys and types as they stand in KINDS, texts that can be encoded and shown, and all together, as JSON, at most
MOST_FACTS_BYTES. So nothing that a peer says of a death can make an event of the scheduler fail half-way, or be larger
than what its receiver takes.

Keys, all of which may be missing: `worker`, `host`, `pid`, `code` (exit code, or minus the signal's number), `oom`,
`peak_bytes`, `output` (the last it wrote to stderr), `lost` (its host is gone, nobody saw it end), `leaving` (it
had been told to end, since its host was), `final` (in place
within its task ran one that may not be tried again), `piece_node` (it ran a piece of a graph, and was at this node of
it). The core adds `tries`, how often the task was tried.

Not here: how the facts are found (scaler.cluster.autopsy), what is made of them (scaler.values.died).
"""

import json
from typing import Any

MOST_FACTS_BYTES = 7168  # with all else of the record they fit a ring of 64 KiB
_MOST_NAME_BYTES, _MOST_OUTPUT_BYTES = 256, 4096
_NUMBERS = {
    "pid": (0, 1 << 31), "code": (-255, 1 << 31), "peak_bytes": (0, 1 << 50), "tries": (0, 1 << 16),
    "piece_node": (0, 1 << 16),
}  # fmt: skip
_TEXTS = {"worker": _MOST_NAME_BYTES, "host": _MOST_NAME_BYTES, "output": _MOST_OUTPUT_BYTES}
_SWITCHES = ("oom", "lost", "leaving", "final")


def facts_from(said: object) -> dict[str, Any]:
    """Those of these facts that make sense; none of what is no dictionary."""
    if not isinstance(said, dict):
        return {}
    facts: dict[str, Any] = {}
    for key, (least, most) in _NUMBERS.items():
        value = said.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value < most:
            facts[key] = value
    for key, most_bytes in _TEXTS.items():
        value = said.get(key)
        if isinstance(value, str) and value:
            facts[key] = _shown(value, most_bytes)
    facts.update((key, said[key]) for key in _SWITCHES if isinstance(said.get(key), bool))
    return facts


def read_facts(text: str | bytes) -> dict[str, Any]:
    """The facts of a JSON object, as `pack_facts` wrote it or anybody else; none of any other text."""
    try:
        return facts_from(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def pack_facts(said: object) -> bytes:
    """The facts as a JSON object of at most MOST_FACTS_BYTES: a long output is cut off at its beginning."""
    facts = facts_from(said)
    facts.pop("tries", None)  # the core's to say
    packed = json.dumps(facts, ensure_ascii=False).encode()
    while len(packed) > MOST_FACTS_BYTES:
        facts["output"] = facts["output"][len(facts["output"]) // 4 + 1 :]
        packed = json.dumps(facts, ensure_ascii=False).encode()
    return packed


def _shown(text: str, most_bytes: int) -> str:
    """The last of the text, without what cannot be shown or encoded."""
    text = "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text[-most_bytes:])
    return text.encode()[-most_bytes:].decode("utf-8", "ignore")

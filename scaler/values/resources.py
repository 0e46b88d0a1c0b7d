"""Resources: what a task asks for and what a worker has, from what people write to what travels.

A task asks by a dict, {"gpu": 1, "mem": "8G", "linux": True}: an amount, or True for "it must be there, no matter how
much". A cluster says what it has in a text, `gpu=[0,1],mem=64G,linux`:

    mem=64G       a sum: all its workers draw on it together
    gpu=[0,1]     a pool of named units: each worker is pinned to its part of them before it starts
    linux         a tag: what has no amount, and satisfies any request of that name

Workers are pinned in turn. With more workers than units each has one, which it may share with others: together they are
given no more than the whole of it, be it by halves. With fewer, each has several for itself.

Amounts travel as whole thousandths (native/scheduler/resources.pyx), and a request is rounded up to these.

Not here: which worker gets a task (core), what a host has by itself (scaler.cluster.devices).
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_RESOURCES, MOST_RESOURCE_NAME_BYTES, RESOURCE_UNIT = (
    16,
    64,
    1000,
)  # as in resources.pyx, which `config` does without
MOST_AMOUNT = 1e14
MOST_UNITS = 4096  # of one pool
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_AMOUNT = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([KMGT]i?)?B?\s*", re.IGNORECASE)
_ITEM = re.compile(r"\s*([^=,\[\]]*?)\s*(?:=\s*(\[[^\]]*\]|[^,\[\]]*))?\s*(,|$)")
AMOUNTS = "a number, or a text such as 0.5, 8G (thousands) or 8Gi (of 1,024)"


def parse_amount(text: str) -> float:
    """The number that this text means: 8G is 8e9, 8Gi is 8 * 2**30. ValueError if it means none."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no amount: it is {AMOUNTS}")
    return float(match[1]) * _UNITS[(match[2] or "").upper()]


# what a task asks for


def request_text(resources: Mapping[str, Any] | None) -> bytes:
    """As it travels; nothing if nothing is asked for. TypeError or ValueError says what is wrong."""
    if resources is None:
        return b""
    if not isinstance(resources, Mapping):
        raise TypeError(f"resources is a dict such as {{'gpu': 1, 'mem': '8G', 'linux': True}}, not {resources!r}")
    asked = {_checked_name(name): _asked(name, value) for name, value in resources.items()}
    lines = sorted((name.encode(), amount) for name, amount in asked.items() if amount is not None)
    if len(lines) > MOST_RESOURCES:
        raise ValueError(f"a task asks for at most {MOST_RESOURCES} resources, not {len(lines)}")
    return b"\n".join(name + b"=%d" % amount if amount else name for name, amount in lines)


def _asked(name: str, value: Any) -> int | None:
    """Thousandths; 0 for any amount, None for nothing."""
    if value is True:
        return 0
    if value is False or value is None:
        return None
    if isinstance(value, str):
        value = parse_amount(value)
    if not hasattr(value, "__float__"):
        raise TypeError(f"of the resource {name!r} a task asks for {AMOUNTS}, or for True, not {value!r}")
    amount = float(value)
    if not 0 <= amount <= MOST_AMOUNT:  # nor NaN
        raise ValueError(f"of the resource {name!r} a task asks for 0 to {MOST_AMOUNT:g}, not {value!r}")
    return math.ceil(round(amount * RESOURCE_UNIT, 3)) or None


def from_capabilities(capabilities: Mapping[str, Any] | None) -> dict[str, Any]:
    """Resources as programs for opengris-scaler 2 write them: -1 stands for any amount."""
    return {name: True if value == -1 else value for name, value in (capabilities or {}).items()}


def _checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a resource is a text, not {name!r}")
    if not name or name != name.strip() or set(name) & set("=,[]@\n") or not name.isprintable():
        raise ValueError(f"{name!r} is no name of a resource: it has letters, and none of = , [ ] @")
    if name.startswith("f:"):
        raise ValueError(f"{name!r} is no name of a resource: f: begins those of functions that are called by name")
    if len(name.encode("utf-8", "surrogatepass")) > MOST_RESOURCE_NAME_BYTES:
        raise ValueError(f"the name of a resource has at most {MOST_RESOURCE_NAME_BYTES} bytes: {name[:80]!r}")
    return name


# what a cluster has


@dataclass(frozen=True)
class Resources:
    """Of one cluster: sums, pools of named units, tags."""

    sums: dict[str, float] = field(default_factory=dict)
    pools: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.sums or self.pools or self.tags)

    @property
    def names(self) -> set[str]:
        return {*self.sums, *self.pools, *self.tags}

    def with_missing(self, others: "Resources") -> "Resources":
        """These, and of the others what has another name."""
        names = self.names
        return Resources(
            {**{name: amount for name, amount in others.sums.items() if name not in names}, **self.sums},
            {**{name: units for name, units in others.pools.items() if name not in names}, **self.pools},
            self.tags | (others.tags - names),
        )


@dataclass(frozen=True)
class Share:
    """What one worker has of its cluster's resources."""

    text: str = ""  # as it travels
    units: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by pool, those that it is pinned to
    sums: dict[str, float] = field(default_factory=dict)  # of the whole cluster
    tags: tuple[str, ...] = ()

    @property
    def as_dict(self) -> dict[str, Any]:
        """What a task hears of it."""
        return {
            **self.sums,
            **{name: list(units) for name, units in self.units.items()},
            **dict.fromkeys(self.tags, True),
        }


def parse_resources(text: str) -> Resources:
    """What `gpu=[0,1],mem=64G,linux` says. ValueError says what is wrong with it."""
    sums: dict[str, float] = {}
    pools: dict[str, tuple[str, ...]] = {}
    tags: set[str] = set()
    at = 0
    while at < len(text):
        match = _ITEM.match(text, at)
        if match is None:
            raise ValueError(f"{text[at : at + 40]!r} is no resource: write name=amount, name=[unit,unit] or name")
        name, value = _checked_name(match[1]), match[2]
        if name in sums or name in pools or name in tags:
            raise ValueError(f"the resource {name!r} is there twice")
        if value is None:
            tags.add(name)
        elif value.startswith("["):
            pools[name] = _units(name, value[1:-1])
        else:
            sums[name] = _sum(name, value)
        at = match.end()
        if match[3] and at == len(text):
            raise ValueError(f"nothing stands behind the last comma of {text!r}")
    if len(sums) + len(pools) + len(tags) > MOST_RESOURCES:
        raise ValueError(f"a cluster has at most {MOST_RESOURCES} resources, not {len(sums) + len(pools) + len(tags)}")
    return Resources(sums, pools, frozenset(tags))


def _sum(name: str, value: str) -> float:
    amount = parse_amount(value)
    if not 1 / RESOURCE_UNIT <= amount <= MOST_AMOUNT:
        raise ValueError(f"of the resource {name!r} there may be {1 / RESOURCE_UNIT:g} to {MOST_AMOUNT:g}, not {value}")
    return amount


def _units(name: str, text: str) -> tuple[str, ...]:
    units = tuple(unit.strip() for unit in text.split(","))
    if not all(units) or len(set(units)) != len(units):
        raise ValueError(f"the units of {name!r} have different names, as in {name}=[0,1], not [{text}]")
    if len(units) > MOST_UNITS:
        raise ValueError(f"the pool {name!r} has at most {MOST_UNITS} units, not {len(units)}")
    return units


def share_out(resources: Resources, workers: int, owner: str, count: int | None = None) -> list[Share]:
    """What each of the workers of a cluster has, and then that of `count` in all: those beyond `workers` stand in for
    others, and are pinned as these are. `owner` is what no other cluster of the host is called."""
    return [_share(resources, index, workers, owner) for index in range(workers if count is None else count)]


def _share(resources: Resources, index: int, workers: int, owner: str) -> Share:
    lines: list[tuple[bytes, bytes]] = [(tag.encode(), b"") for tag in resources.tags]
    units: dict[str, tuple[str, ...]] = {}
    for name, amount in resources.sums.items():
        lines.append((name.encode(), b"=%d@%s" % (round(amount * RESOURCE_UNIT), owner.encode())))
    for name, all_units in resources.pools.items():
        groups = max(1, min(workers, len(all_units)))
        group = index % groups
        units[name] = all_units[group::groups]
        lines.append((name.encode(), b"=%d@%s" % (len(units[name]) * RESOURCE_UNIT, f"{owner}.{group}".encode())))
    text = b"\n".join(name + amount for name, amount in sorted(lines)).decode()
    return Share(text, units, dict(resources.sums), tuple(sorted(resources.tags)))


def in_words(items: Iterable[tuple[str, float | None]]) -> str:
    """What is asked for, for people."""
    return ", ".join(name if amount is None else f"{name}={shown_amount(amount)}" for name, amount in items)


def shown_amount(amount: float) -> str:
    """With a letter for thousands, if it is large."""
    for letter, unit in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if amount >= unit:
            return f"{amount / unit:.4g}{letter}"
    return f"{amount:.4g}"


def what_is_missing(items: list[tuple[str, float | None]], most: list[float | None]) -> str:
    """Why no worker can satisfy this: what none has, or has not enough of. `most`: of each, what one has at most."""
    nowhere = [name for (name, _), there in zip(items, most, strict=True) if there is None]
    if nowhere:
        return f"no worker has {' or '.join(nowhere)}"
    short = [
        f"{name}={shown_amount(wanted)} (the most that one has is {shown_amount(there)})"
        for (name, wanted), there in zip(items, most, strict=True)
        if wanted is not None and there and wanted > there
    ]
    if short:
        return f"no worker has {' or '.join(short)}"
    return f"no worker has {in_words(items)} together"

"""Peers of other minor versions: frames that they have written, which stand in tests/protocol/recorded for ever."""

import json
from typing import Any

import pytest

from scaler.protocol.codec import by_schema_decode, decode
from scaler.protocol.frames import PROTOCOL_MINOR, PROTOCOL_VERSION, Body, FrameError, VersionError
from tests.protocol.record_frames import FOLDER, as_text, defaults_of, samples

RECORDINGS = sorted(path.stem for path in FOLDER.glob("*.json"))


def recorded(name: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / f"{name}.json").read_text()))


def said(body: Body) -> dict[str, Any]:
    return {key: as_text(getattr(body, key)) for key in defaults_of(type(body))}


@pytest.mark.parametrize("read", [decode, by_schema_decode])
@pytest.mark.parametrize("name", RECORDINGS)
def test_what_a_peer_of_another_minor_version_has_written_means_what_it_meant(name, read):
    kinds = recorded(name)
    assert kinds
    for kind, entry in kinds.items():
        frame = read(bytes.fromhex(entry["frame"]))
        assert type(frame.body).__name__ == kind
        assert (frame.number, frame.acknowledged) == (entry["number"], 5)
        read_here, defaults = said(frame.body), defaults_of(type(frame.body))
        for key, value in entry["fields"].items():
            # What is left out was said in a field that this version does not have: it is passed over.
            assert read_here.pop(key, value) == value, (kind, key)
        for key, value in read_here.items():
            assert value == as_text(defaults[key]), f"{kind}.{key} is new since: it must mean what was meant without it"


def test_there_is_a_recording_of_this_minor_version_and_this_version_still_writes_it():
    kinds = recorded(f"{PROTOCOL_VERSION}.{PROTOCOL_MINOR}")
    for frame in samples():
        assert kinds[type(frame.body).__name__]["fields"] == said(frame.body)


def test_a_frame_of_another_major_version_is_refused_with_both_numbers():
    data = bytearray.fromhex(recorded("2.0")["Acknowledge"]["frame"])
    at = data.index((0x5343414C).to_bytes(4, "little")) + 4
    data[at : at + 4] = (3).to_bytes(4, "little")
    with pytest.raises(VersionError, match="version 3 of Scaler's protocol and this side version 2"):
        decode(bytes(data))


def test_a_kind_that_only_a_later_minor_version_has_is_refused_and_is_no_crash():
    data = bytearray.fromhex(recorded("2.0")["Acknowledge"]["frame"])
    at = data.index((0x5343414C).to_bytes(4, "little"))
    data[at + 24 : at + 26] = (999).to_bytes(2, "little")
    with pytest.raises(FrameError, match="of a kind that version 2"):
        decode(bytes(data))

"""The file behind --config: what it may say, and one line about each thing that it may not."""

import pytest

from scaler.address import Address
from scaler.config.toml_file import read_section
from scaler.exceptions import OptionError

WHOLE = """
[scheduler]
address = "tcp://127.0.0.1:2345"
protected = true
client-timeout-seconds = 30
io_threads = 2
logging-paths = ["/dev/stdout", "a.log"]

[cluster]
num-of-workers = 4
worker-names = "a,b,c,d"
"""


def read(tmp_path, text, command="scheduler"):
    path = tmp_path / "scaler.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_section(str(path), command)


def test_each_command_gets_its_section(tmp_path):
    assert read(tmp_path, WHOLE) == {
        "address": Address("127.0.0.1", 2345),
        "protected": True,
        "client_timeout_seconds": 30,
        "io_threads": 2,
        "logging_paths": ("/dev/stdout", "a.log"),
    }
    assert read(tmp_path, WHOLE, "cluster") == {"num_of_workers": 4, "worker_names": ("a", "b", "c", "d")}
    assert read(tmp_path, "") == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[scheduler]\nprotectd = true", r"no option protectd in \[scheduler\]; did you mean protected\?"),
        ("[scheduler]\nper_worker_qeue_size = 3", "did you mean per-worker-queue-size"),
        ("[scheduler]\nzzz = 3", r"no option zzz in \[scheduler\]$"),
        ("[shceduler]\n", r"no section \[shceduler\]; did you mean scheduler\?"),
        ("[worker]\n", r"no section \[worker\] \(sections are \[scheduler\], \[cluster\], \[top\]"),
        ("protected = true", "protected stands outside of a section"),
        ("scheduler = 3", r"scheduler must be a section, written as \[scheduler\]"),
        ("[cluster]\nnum-of-workers = '4'", r"num-of-workers in \[cluster\] must be a whole number.*not '4'"),
        ("[scheduler]\nprotected = 'yes'", "must be true or false"),
        ("[scheduler]\naddress = 'tcp://127.0.0.1'", r"address in \[scheduler\]: .* has no port"),
        ("[scheduler]\nio-threads = 1\nio_threads = 1", "is there twice"),
        ("[scheduler]\nlogging-paths = {a = 1}", "must be a list of texts"),
        ("[scheduler\n", r"is no TOML: .*line 1"),
        (b"\xff\xfe", "is no TOML"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_file(tmp_path, text, why):
    with pytest.raises(OptionError, match=why) as raised:
        read(tmp_path, text)
    assert "\n" not in str(raised.value)
    assert "scaler.toml" in str(raised.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"nothing\.toml cannot be read: No such file"):
        read_section(str(tmp_path / "nothing.toml"), "cluster")
    with pytest.raises(OptionError, match="cannot be read"):
        read_section(str(tmp_path), "cluster")

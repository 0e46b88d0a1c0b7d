"""What scaler runs on; asked before anything else is imported, so that a user who cannot run it reads a sentence.

Why not sysconfig's Py_GIL_DISABLED: the `t` among the ABI flags says the same, and costs no worker some milliseconds.
"""

import sys


def check_interpreter() -> None:
    """ImportError if this is not a Python that scaler works on."""
    has_gil: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
    obstacle = find_obstacle(sys.platform, getattr(sys, "abiflags", ""), has_gil)
    if obstacle is not None:
        raise ImportError(obstacle)


def find_obstacle(platform: str, abi_flags: str, has_gil: bool) -> str | None:
    """The sentence that says why not, or None."""
    if platform != "linux":
        return f"scaler runs on Linux only, and this is {platform}: use a Linux machine, a container or WSL"
    if "t" in abi_flags or not has_gil:
        return "scaler needs the GIL, and this is a free-threaded Python: use the usual build of the same version"
    return None

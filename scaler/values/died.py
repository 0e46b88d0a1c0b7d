"""What is known of a worker's death as the exception that its task gets.

Not here: which facts there are (scaler.values.death_facts), how they are found (scaler.cluster.autopsy).
"""

import signal
from typing import Any

from scaler.exceptions import ProcessorDiedError
from scaler.values.death_facts import read_facts

_MEANING = {
    signal.SIGSEGV: "it touched memory that is not its own",
    signal.SIGABRT: "it gave up by itself, as C code does when it finds itself broken",
    signal.SIGBUS: "memory that it touched could not be had, as when /dev/shm or a file is cut short",
    signal.SIGILL: "it ran an instruction that this processor does not have",
    signal.SIGFPE: "an arithmetic error in C code",
}


def died_error(task: int, payload: bytes, function: str) -> ProcessorDiedError:
    """The exception of a task whose worker died once too often."""
    facts = read_facts(payload)
    code, tries, pid = facts.get("code"), facts.get("tries", 0), facts.get("pid")
    output, peak_bytes = facts.get("output", ""), facts.get("peak_bytes", 0)
    worker, host, is_oom = facts.get("worker", ""), facts.get("host", ""), facts.get("oom", False)
    name = signal_name(code)
    where = f"worker {worker or '(unknown)'}" + (f" on {host}" if host else "")
    sentences = [
        f"{function or 'a function'} (task {task:#x}) was being run by {where}"
        + (f", process {pid}," if pid else "")
        + f" when that {_how(code, name, is_oom, facts)}"
    ]
    if tries > 1:
        sentences.append(f"It was tried {tries} times, each time its worker died")
    if facts.get("final"):
        sentences.append(
            "It is not run again: a task that it waited for was being run in place then, and the `retries` of that one "
            "allow no other try"
        )
    if peak_bytes:
        sentences.append(f"The process had {peak_bytes / (1 << 20):,.0f} MiB of memory at most")
    if is_oom:
        sentences.append("Give it more memory, or run fewer workers on that host")
    text = ". ".join(sentences) + "."
    if output:
        text += "\nThe last it wrote to stderr:\n" + "\n".join("    " + line for line in output.splitlines())
    return ProcessorDiedError(
        text, exit_code=code if code is not None and code >= 0 else None, signal_name=name, out_of_memory=is_oom,
        memory_peak=peak_bytes, last_output=output, function=function, tries=tries, worker=worker, host=host,
        is_final=facts.get("final", False), piece_node=facts.get("piece_node"),
    )  # fmt: skip


def signal_name(code: int | None) -> str | None:
    """Of an exit code that stands for a signal; else None."""
    if code is None or code >= 0:
        return None
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _how(code: int | None, name: str | None, is_oom: bool, facts: dict[str, Any]) -> str:
    if facts.get("leaving") and code is None:
        return "was ended with its cluster, which had been told to go and did not wait for longer (--drain-seconds)"
    if facts.get("lost"):
        return "was lost: nothing was heard of its host any more"
    if is_oom:
        return f"was killed by the kernel ({name or code}), which had no memory left"
    if code is None:
        return "died; how is not known"
    if name is None:
        return f"ended by itself, with exit code {code} (os._exit, or C code that calls exit)"
    meaning = _MEANING.get(signal.Signals(-code)) if name.startswith("SIG") else None
    return f"was ended by {name}" + (f": {meaning}" if meaning else "")

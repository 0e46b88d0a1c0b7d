"""Places with little in them: commands that are put in front of a program's. They need root's rights."""

import os

_CAPABILITIES = "-all,+dac_read_search"  # without which another user does not get to this interpreter


def as_other_user(limits: str = "") -> tuple[str, ...]:
    """As a user who has no other process, with these arguments of ulimit."""
    user = 20000 + os.getpid() % 40000
    return (
        "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", f"--inh-caps={_CAPABILITIES}",
        f"--ambient-caps={_CAPABILITIES}", f"--bounding-set={_CAPABILITIES}",
        "bash", "-c", f'{f"ulimit {limits} &&" if limits else ""} exec "$@"', "bash",
    )  # fmt: skip


def limited(limits: str) -> tuple[str, ...]:
    """With these arguments of ulimit."""
    return ("bash", "-c", f'ulimit {limits} && exec "$@"', "bash")


def mounted(commands: str) -> tuple[str, ...]:
    """In a mount namespace in which these have been run."""
    return ("unshare", "--mount", "--", "bash", "-ec", f'{commands}; exec "$@"', "bash")


READ_ONLY_FOLDERS = (
    "for f in /tmp /var/tmp /usr/tmp; do [ -d $f ] && mount --bind $f $f && mount -o remount,ro,bind $f; done"
)
READ_ONLY_MEMORY = "mount -t tmpfs -o ro tmpfs /dev/shm"
NOBODYS_MEMORY = "mount -t tmpfs -o mode=0755 tmpfs /dev/shm"
NO_MEMORY = (
    "mount -t tmpfs tmpfs /mnt; for d in null:3 zero:5 full:7 random:8 urandom:9; do "
    "mknod -m 666 /mnt/${d%:*} c 1 ${d#*:}; done; mount --bind /mnt /dev"
)

"""Every option once: name, type, default, unit, flags, help, what its values may be, and whether it has an effect.

A field is an option: `worker_names` is `--worker-names` on the command line, `worker-names` (or `worker_names`) in a
file, and `worker_names=` where a program starts things itself.

Rule 1: nothing about an option stands anywhere else. docs/options.md and scaler/cluster/signatures.py, which has what
        Scheduler, Cluster and SchedulerClusterCombo take, are generated from here: `make options`.
Not here: how values are read (option), from where (command_line, toml_file), and how those without effect are announced
(idle).
"""

import os
from dataclasses import dataclass, field
from typing import Literal

from scaler.address import Address
from scaler.config.option import option, required
from scaler.exceptions import AddressError, OptionError
from scaler.keys.find import ADDRESS_VARIABLE, KEYS_VARIABLE, find_address, find_monitor_address
from scaler.values.resources import parse_resources

WHERE, WORK, LIMITS, TIME, LOGGING = "Where", "Work", "Limits", "Time", "Logging"
LAUNCH = "Clusters elsewhere"
NOT_YET, NO_MORE = "Without effect in this version", "Without effect, kept for programs that set them"
GROUPS = (WHERE, WORK, LAUNCH, LIMITS, TIME, LOGGING, NOT_YET, NO_MORE)

_FOUND = f"{ADDRESS_VARIABLE}, else that of this user's newest scheduler of this machine"
_FOUND_MONITOR = f"that of the scheduler at {ADDRESS_VARIABLE}, else of this user's newest one of this machine"
_BALANCING = "work is always balanced, as it is placed and whenever a task runs longer than expected"


@dataclass(frozen=True, kw_only=True)
class LoggingConfig:
    """Where a program writes its log. What both commands have."""

    logging_paths: tuple[str, ...] = option(
        ("/dev/stdout",), "where to log: files, /dev/stdout, /dev/stderr; one or several", "-lp",
        group=LOGGING, shown="PATH", code_default=("/dev/stderr",),
    )  # fmt: skip
    logging_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = option(
        "INFO", "the least level that is logged", "-ll", group=LOGGING, code_default="WARNING"
    )
    logging_config_file: str | None = option(
        None, "a file for Python's logging.config.fileConfig, used instead of paths and level", "-lc",
        group=LOGGING, shown="FILE",
    )  # fmt: skip
    event_loop: Literal["builtin", "uvloop"] = option(
        "builtin", "the event loop; uvloop needs `pip install scaler[uvloop]`", "-e", "-el", group=WORK
    )


@dataclass(frozen=True, kw_only=True)
class ObjectsConfig:
    """Where objects lie on a host: the scheduler says it for its own, a cluster for any other."""

    object_memory_bytes: int = option(
        0, "how full /dev/shm may become before large objects lie in files", group=LIMITS, unit="bytes", least=0,
        default_words="nearly full, and at most half of this container's memory",
    )  # fmt: skip
    object_folder: str | None = option(
        None, "the folder of these files", group=LIMITS, shown="FOLDER", default_words="the temporary folder"
    )


@dataclass(frozen=True, kw_only=True)
class SchedulerConfig(ObjectsConfig, LoggingConfig):
    """The options of scaler_scheduler."""

    address: Address = field(metadata=required("where to listen: tcp://host:port (port 0: any free one) or ipc://path"))
    monitor_address: Address | None = option(
        None, "where to publish what scaler_top and scaler_ui show", "-ma",
        group=WHERE, default_words="two ports above the address, or beside its path",
    )  # fmt: skip
    keys: str | None = option(
        None, "a folder of keys (scaler_keys makes one): only who has one of them can connect, and nobody listens in",
        group=WHERE, shown="FOLDER", default_words="SCALER_KEYS, else at tcp fresh ones that this user's programs find",
    )  # fmt: skip
    insecure: bool = option(
        False, "do without keys, also beyond this machine, though whoever reaches the port can run code here",
        group=WHERE,
    )  # fmt: skip
    protected: bool = option(
        False, "do not let clients stop the scheduler and its workers", "-p", group=WORK, code_default=True
    )
    io_threads: int = option(
        1, "threads that move bytes for peers on other hosts", group=WORK, least=1, most=1024,
        in_combo="scheduler_io_threads",
    )  # fmt: skip
    max_number_of_tasks_waiting: int = option(
        -1, "fail new tasks with NoWorkerError while so many wait for a worker with room; -1: never", "-mt",
        group=LIMITS, least=-1,
    )  # fmt: skip
    per_worker_queue_size: int = option(
        1000, "most tasks that one worker is given ahead", "-qs", group=LIMITS, least=1, most=1 << 31
    )
    client_queue_bytes: int = option(
        2 << 30, "most that is kept for one client; a quarter of it is for its tasks, then its submits wait",
        group=LIMITS, unit="bytes", least=1 << 16,
    )  # fmt: skip
    client_timeout_seconds: float = option(
        60, "forget a client on another host after so long without a sign of life", "-ct",
        group=TIME, unit="seconds", least=1,
    )  # fmt: skip
    worker_timeout_seconds: float = option(
        60, "forget a cluster on another host after so long without a sign of life", "-wt",
        group=TIME, unit="seconds", least=1,
    )  # fmt: skip
    object_retention_seconds: float = option(
        60, "how long to keep objects", "-ot",
        group=NO_MORE, unit="seconds", least=0, no_more="an object goes when nobody refers to it any more",
    )  # fmt: skip
    load_balance_seconds: float = option(
        0, "how often to balance", "-ls", group=NO_MORE, unit="seconds", least=0, no_more=_BALANCING
    )
    load_balance_trigger_times: int = option(
        2, "how often to see the same imbalance before acting", "-lbt", group=NO_MORE, least=0, no_more=_BALANCING
    )

    def __post_init__(self) -> None:
        _check_folder(self.object_folder)
        if not (self.insecure or self.keys or os.environ.get(KEYS_VARIABLE) or self.address.is_loopback):
            raise OptionError(
                f"{self.address} can be reached from other machines, and whoever reaches it can run code here: make "
                "keys with `scaler_keys FOLDER` and give them with --keys FOLDER (keys=...), or listen at 127.0.0.1 or "
                "an ipc path, or accept it with --insecure (insecure=True)"
            )
        if self.monitor_address is not None and not (self.insecure or self.monitor_address.is_loopback):
            raise OptionError(
                f"{self.monitor_address} can be reached from other machines, and shows what runs here to whoever does: "
                "listen at 127.0.0.1 or an ipc path, or accept that with --insecure (insecure=True)"
            )


@dataclass(frozen=True, kw_only=True)
class ClusterConfig(ObjectsConfig, LoggingConfig):
    """The options of scaler_cluster."""

    address: Address = field(
        metadata=required(
            "the scheduler's address: tcp://host:port or ipc://path",
            default_words=_FOUND,
            find=lambda: find_address(None),
        )
    )
    keys: str | None = option(
        None, "the folder of keys by which the scheduler lets this cluster in",
        group=WHERE, shown="FOLDER", default_words="SCALER_KEYS, else what a scheduler of this machine has left",
    )  # fmt: skip
    num_of_workers: int | None = option(
        None, "how many workers to run", "-n", group=WORK, least=1, most=4096,
        default_words="one for each core that this process may use", in_code="n_workers",
    )  # fmt: skip
    min: int | None = option(
        None, "the least workers, of a cluster that grows and shrinks with its work; needs --max", group=WORK, least=0,
        default_words="1", in_code="min_workers",
    )  # fmt: skip
    max: int | None = option(
        None, "the most workers of such a cluster", group=WORK, least=1, most=4096,
        default_words="it does not grow", in_code="max_workers",
    )  # fmt: skip
    backlog_seconds: float = option(
        5, "grow while there is more work than so many seconds for each worker that is there", group=WORK,
        unit="seconds", least=0.001,
    )  # fmt: skip
    idle_seconds: float = option(
        30, "shrink by those that have had nothing to do for so long", group=WORK, unit="seconds", least=0
    )
    launch: Literal["slurm", "ssh", "command"] | None = option(
        None, "run no worker here, but start clusters elsewhere, as jobs of this", group=LAUNCH
    )
    hosts: str | None = option(None, "how many of these there are at least and at most", group=LAUNCH, shown="MIN:MAX")
    launch_options: str = option(
        "",
        "options of the batch system's own command: of sbatch, of ssh",
        group=LAUNCH,
        shown="WORDS",
        default_words="none",
    )
    launch_setup: str = option(
        "",
        "what each host's shell does before it starts its cluster",
        group=LAUNCH,
        shown="COMMANDS",
        default_words="none",
    )
    launch_program: str = option(
        "", "how scaler_cluster is called there, for a shell", group=LAUNCH, shown="WORDS",
        default_words="as the program that launches",
    )  # fmt: skip
    launch_folder: str | None = option(
        None, "where jobs write what they say, to be read here", group=LAUNCH, shown="FOLDER",
        default_words="~/.scaler/launched",
    )  # fmt: skip
    launch_hosts: tuple[str, ...] = option(
        (),
        "hosts for --launch ssh, one job at a time on each",
        group=LAUNCH,
        separator=",",
        shown="NAME,NAME,...",
        default_words="none",
    )
    launch_start: str = option(
        "",
        "for --launch command: how a job is started, with {script}, {log} and {name}",
        group=LAUNCH,
        shown="WORDS",
        default_words="none",
    )
    launch_list: str = option(
        "",
        "the same: what lists the jobs that are there, with {user}",
        group=LAUNCH,
        shown="WORDS",
        default_words="none",
    )
    launch_end: str = option(
        "",
        "the same: how one is ended, with {job}",
        group=LAUNCH,
        shown="WORDS",
        default_words="none",
    )
    most_queued: int = option(
        4, "launch nothing while so many jobs wait to be started, or for their clusters to join", group=LAUNCH, least=1
    )
    cluster_name: str = option(
        "",
        "what its launcher knows this cluster by",
        group=LAUNCH,
        shown="NAME",
        default_words="none",
    )
    resources: str | None = option(
        None, "what tasks may ask for: sums (mem=64G), pools of named units (gpu=[0,1]), tags (linux); with auto also "
        "what the environment and the batch system say",
        group=WORK, shown="NAME=...,NAME,...", default_words="nothing",
    )  # fmt: skip
    dry_run: bool = option(False, "say in the log how it would grow and shrink, and do not", group=WORK)
    end_idle_seconds: float = option(
        0, "end the cluster when none of its workers has had anything to do for so long; 0: never", group=TIME,
        unit="seconds", least=0,
    )  # fmt: skip
    worker_names: tuple[str, ...] = option(
        (), "names of the workers; as many as there are workers, or they say how many", "-wn",
        group=WORK, separator=",", shown="NAME,NAME,...", default_words="the name of the host and a number",
    )  # fmt: skip
    ring_bytes: int = option(
        262144, "size of each ring between a worker and the scheduler", group=LIMITS,
        unit="bytes", least=65536, most=1 << 30, is_power_of_two=True, for_workers=True,
    )  # fmt: skip
    death_timeout_seconds: float = option(
        300, "end when there has been no scheduler for so long", "-ds", group=TIME, unit="seconds", least=0
    )
    task_timeout_seconds: float = option(
        0, "stop tasks that run longer (of a map: each of its calls) and have no limit of their own; 0: never", "-tts",
        group=TIME, unit="seconds", least=0, for_workers=True,
    )  # fmt: skip
    stop_grace_seconds: float = option(
        2, "kill a worker whose task goes on for so long after it was cancelled or ran too long",
        group=TIME, unit="seconds", least=0, for_workers=True,
    )  # fmt: skip
    drain_seconds: float = option(
        5, "after SIGTERM, how long what runs may go on before it is run again elsewhere; after SIGUSR1 as long as it "
        "likes",
        group=TIME, unit="seconds", least=0,
    )  # fmt: skip
    garbage_collect_interval_seconds: float = option(
        30, "how often workers that are idle collect garbage, if they have run anything since; 0: never", "-gc",
        group=TIME, unit="seconds", least=0, for_workers=True,
    )  # fmt: skip
    trim_memory_threshold_bytes: int = option(
        1 << 30, "memory of its own above which a worker that has collected garbage gives back what is free; while it "
        "works it may keep half of that for its next task",
        "-tm", group=LIMITS, unit="bytes", least=0, for_workers=True,
    )  # fmt: skip
    worker_max_tasks: int = option(
        0, "replace a worker by a fresh process after so many tasks, each call of a map being one; 0: never",
        group=LIMITS, least=0, for_workers=True,
    )  # fmt: skip
    worker_max_bytes: int = option(
        0, "replace a worker by a fresh process when it has more memory of its own between two tasks; 0: never",
        group=LIMITS, unit="bytes", least=0, default_words="never", for_workers=True,
    )  # fmt: skip
    heartbeat_interval: float = option(
        2, "how often to give a sign of life", "-hi",
        group=NO_MORE, unit="seconds", least=0, no_more="the scheduler tells its peers how often",
        in_code="heartbeat_interval_seconds",
    )  # fmt: skip
    io_threads: int = option(
        1, "threads that move a worker's bytes", "-it",
        group=NO_MORE, least=1, no_more="workers speak through shared memory and have no such threads",
        in_code="worker_io_threads",
    )  # fmt: skip
    hard_processor_suspend: bool = option(
        False, "stop processes that wait by a signal", "-hps",
        group=NO_MORE, no_more="a task that waits for another is never suspended",
    )  # fmt: skip
    log_hub_address: Address | None = option(
        None, "where workers send their logs", "-la",
        group=NO_MORE, no_more="there is no log hub: every program writes to its own logging paths",
    )  # fmt: skip

    def __post_init__(self) -> None:
        _check_folder(self.object_folder)
        _check_connectable(self.address)
        self._check_launch()
        try:
            parse_resources(self.resources or "")
        except ValueError as error:
            raise OptionError(f"--resources: {error}") from None
        if self.max is None and (self.min is not None or (self.dry_run and self.launch is None)):
            raise OptionError(
                f"--{'dry-run' if self.min is None else 'min'} is for a cluster that grows: say --max, too"
            )
        if self.max is not None and self.num_of_workers is not None:
            raise OptionError(
                "--num-of-workers is for a cluster that does not grow: say either that, or --min and --max"
            )
        if self.max is not None and self.max < self.least_workers:
            raise OptionError(f"--max {self.max} is less than --min {self.least_workers}")
        if self.max is not None and self.worker_names and len(self.worker_names) != self.max:
            raise OptionError(f"{len(self.worker_names)} worker names for --max {self.max}: name each")
        if self.worker_names and self.num_of_workers not in (None, len(self.worker_names)):
            raise OptionError(f"{len(self.worker_names)} worker names for {self.num_of_workers} workers: name each")
        for name in self.worker_names:
            if not name.isprintable():  # nor is half of a surrogate pair, which no message can carry
                raise OptionError(f"worker name {name!a} cannot be shown: use letters, digits and signs")

    def _check_launch(self) -> None:
        if self.launch is None:
            if self.hosts is not None:
                raise OptionError("--hosts is for a cluster that starts others: say --launch, too")
            return
        if self.hosts is None:
            raise OptionError("--launch needs --hosts MIN:MAX")
        least, most = self.host_bounds
        if not 0 <= least <= most or most < 1:
            raise OptionError(f"--hosts must be MIN:MAX, such as 0:20, not {self.hosts!r}")
        if self.max is not None:
            raise OptionError("--max is for the workers of one host: with --launch say --hosts MIN:MAX")
        if self.launch == "ssh" and not self.launch_hosts:
            raise OptionError("--launch ssh needs --launch-hosts NAME,NAME,...")
        if self.launch == "command" and not (self.launch_start and self.launch_list and self.launch_end):
            raise OptionError("--launch command needs --launch-start, --launch-list and --launch-end")

    @property
    def host_bounds(self) -> tuple[int, int]:
        """The least and the most hosts of a launcher."""
        least, colon, most = (self.hosts or "").partition(":")
        if not colon or not least.isdecimal() or not most.isdecimal():
            return -1, -1
        return int(least), int(most)

    @property
    def least_workers(self) -> int:
        """Of a cluster that grows and shrinks."""
        return 1 if self.min is None else self.min


@dataclass(frozen=True, kw_only=True)
class ViewerConfig:
    """The options of all that show a scheduler at work."""

    monitor_address: str = field(
        metadata=required(
            "what to show: a scheduler's monitor address, or a file that --record has made",
            default_words=_FOUND_MONITOR,
            find=lambda: find_monitor_address(None),
        )
    )
    keys: str | None = option(
        None, "a folder of keys by which the scheduler lets this look", group=WHERE,
        shown="FOLDER", default_words="SCALER_KEYS, else what a scheduler of this machine has left",
    )  # fmt: skip

    @property
    def is_recording(self) -> bool:
        """It is a file that is to be shown."""
        return "://" not in self.monitor_address

    def _check(self, record: str | None) -> None:
        if self.is_recording:
            if record is not None:
                raise OptionError("--record writes down what a scheduler says, and a recording is there already")
            return
        try:
            address = Address.parse(self.monitor_address)
        except AddressError as error:
            raise OptionError(str(error)) from None
        _check_connectable(address)


@dataclass(frozen=True, kw_only=True)
class TopConfig(ViewerConfig):
    """The options of scaler_top."""

    timeout: float = option(
        5, "give up if the first report has not come after so long", group=TIME, unit="seconds", least=0
    )
    once: bool = option(False, "show all tables once, as text, and end", group=WORK)
    json: bool = option(
        False, "print all tables as JSON, one line for each report; with --once the first alone", group=WORK
    )
    record: str | None = option(
        None, "write what the scheduler says into this file, to be opened later", group=WORK, shown="FILE"
    )
    trace: str | None = option(
        None, "write the tasks that the scheduler still remembers into this file, for ui.perfetto.dev (with the suffix "
        ".json in Chrome's format), and end", group=WORK, shown="FILE"
    )  # fmt: skip
    ascii: bool = option(False, "show nothing but ASCII, as where the locale has no other characters", group=WORK)

    def __post_init__(self) -> None:
        self._check(self.record)


@dataclass(frozen=True, kw_only=True)
class UiConfig(ViewerConfig, LoggingConfig):
    """The options of scaler_ui."""

    host: str = option("127.0.0.1", "where to serve the page; beyond this machine it asks for a token", group=WHERE)
    port: int = option(50001, "on which port; 0: any free one", group=WHERE, least=0, most=65535)
    token: str | None = option(
        None, "what a browser must bring to be let in; other users see it on a command line, not in a variable",
        group=WHERE,
        default_words="none on this machine, else a random one, which is logged",
    )  # fmt: skip
    allowed_hosts: tuple[str, ...] = option(
        (), "names by which browsers reach the page through a proxy", group=WHERE,
        separator=",", shown="NAME,NAME,...", default_words="this machine's loopback and --host",
    )  # fmt: skip
    record: str | None = option(
        None, "write what is shown into this file, to be opened later", group=WORK, shown="FILE"
    )

    def __post_init__(self) -> None:
        self._check(self.record)


@dataclass(frozen=True, kw_only=True)
class EngineConfig(LoggingConfig):
    """The options of scaler_engine."""

    address: Address = field(metadata=required("the scheduler's address: tcp://host:port or ipc://path"))
    keys: str | None = option(
        None, "the folder of keys by which the scheduler lets this in",
        group=WHERE, shown="FOLDER", default_words="SCALER_KEYS, else what a scheduler of this machine has left",
    )  # fmt: skip
    engine: str = option(
        "processes", "processes, threads, loky, ray or dask; or MODULE:FUNCTION, which returns any executor", group=WORK
    )
    engine_address: str | None = option(
        None, "where ray or dask is to be found", group=WHERE, shown="ADDRESS",
        default_words="what they find themselves; else they start here",
    )  # fmt: skip
    slots: int | None = option(
        None, "how many jobs the engine is given at a time", "-n", group=WORK, least=1, most=4096,
        default_words="as many as it says it runs",
    )  # fmt: skip
    name: str | None = option(
        None, "what its workers are called after", group=WORK, default_words="the name of the host and of the engine"
    )
    death_timeout_seconds: float = option(
        300, "end when there has been no scheduler for so long", "-ds", group=TIME, unit="seconds", least=0
    )
    task_timeout_seconds: float = option(
        0, "stop tasks that run longer (of a map: each of its calls) and have no limit of their own; 0: never", "-tts",
        group=TIME, unit="seconds", least=0,
    )  # fmt: skip
    stop_grace_seconds: float = option(
        2, "take a task for lost that goes on for so long, and some more, after it ran too long",
        group=TIME, unit="seconds", least=0,
    )  # fmt: skip

    event_loop: Literal["builtin", "uvloop"] = option(
        "builtin", "the event loop", "-e", "-el", group=NO_MORE, no_more="this command waits in threads of its own"
    )

    def __post_init__(self) -> None:
        _check_connectable(self.address)


@dataclass(frozen=True, kw_only=True)
class SymphonyConfig(LoggingConfig):
    """The options of scaler_symphony_cluster."""

    address: Address = field(metadata=required("the scheduler's address: tcp://host:port or ipc://path"))
    service_name: str = field(metadata=required("the application of Symphony whose service runs the tasks"))
    keys: str | None = option(
        None, "the folder of keys by which the scheduler lets this in",
        group=WHERE, shown="FOLDER", default_words="SCALER_KEYS, else what a scheduler of this machine has left",
    )  # fmt: skip
    base_concurrency: int = option(
        len(os.sched_getaffinity(0)), "how many Symphony tasks run at a time; nested ones run beyond that", "-n",
        group=WORK, least=1, most=2048, default_words="one for each core that this process may use",
    )  # fmt: skip
    worker_name: str | None = option(
        None, "what its workers are called after", "-w", group=WORK, default_words="the name of the host and symphony"
    )
    symphony_user: str = option("Guest", "as whom to connect to Symphony", group=WORK)
    symphony_password: str = option("Guest", "with which password; better in a file than here", group=WORK)
    session_type: str = option(
        "RecoverableAllHistoricalData", "the type of its session; one that the profile lacks is left out", group=WORK
    )
    death_timeout_seconds: float = option(
        300, "end when there has been no scheduler for so long", "-ds", group=TIME, unit="seconds", least=0
    )
    task_timeout_seconds: float = option(
        0, "stop tasks that run longer (of a map: each of its calls) and have no limit of their own; 0: never", "-tts",
        group=TIME, unit="seconds", least=0,
    )  # fmt: skip
    heartbeat_interval: float = option(
        2, "how often to give a sign of life", "-hi",
        group=NO_MORE, unit="seconds", least=0, no_more="the scheduler tells its peers how often",
    )  # fmt: skip

    event_loop: Literal["builtin", "uvloop"] = option(
        "builtin", "the event loop", "-e", "-el", group=NO_MORE, no_more="this command waits in threads of its own"
    )

    def __post_init__(self) -> None:
        _check_connectable(self.address)


def _check_connectable(address: Address) -> None:
    try:
        address.check_connectable()
    except AddressError as error:
        raise OptionError(str(error)) from None


def _check_folder(folder: str | None) -> None:
    if folder is not None and not os.access(folder, os.W_OK | os.X_OK):
        raise OptionError(f"the object folder {folder} does not exist, or this user may not write there")


Config = SchedulerConfig | ClusterConfig | TopConfig | UiConfig | EngineConfig | SymphonyConfig
# The commands: name of the section of a file, the program, its table, and what it does.
COMMANDS: dict[str, tuple[str, type[Config], str]] = {
    "scheduler": (
        "scaler_scheduler",
        SchedulerConfig,
        "Takes tasks from clients and gives them to workers. Runs until it gets SIGINT, SIGTERM or SIGHUP, or until a "
        "client stops it.",
    ),
    "cluster": (
        "scaler_cluster",
        ClusterConfig,
        "Runs workers on this machine for a scheduler. Waits for the scheduler if it is not there yet. Runs until it "
        "gets SIGINT or SIGHUP, until the scheduler is stopped by a client, or until it has been away for too long. "
        "With SIGTERM or SIGUSR1 it takes nothing new, gives back what has not begun, and ends when what runs has. "
        "With --launch it starts such clusters on other hosts, as the work asks for them.",
    ),
    "top": (
        "scaler_top",
        TopConfig,
        "Shows a scheduler at work in a terminal: workers, functions, clients, failures, hosts, tasks. Needs `pip "
        "install scaler[top]`. Ends with q, or when it gets SIGINT, SIGTERM or SIGHUP; `?` shows its keys.",
    ),
    "ui": (
        "scaler_ui",
        UiConfig,
        "Shows a scheduler at work as a web page, and its figures to Prometheus at /metrics. Needs `pip install "
        "scaler[ui]`. Runs until it gets SIGINT, SIGTERM or SIGHUP.",
    ),
    "engine": (
        "scaler_engine",
        EngineConfig,
        "Has an engine that you run already work for a scheduler: a pool of processes, loky, Ray, Dask. Its slots are "
        "workers to the scheduler. Runs until it gets SIGINT, SIGTERM or SIGHUP, until the scheduler is stopped by a "
        "client, or until it has been away for too long.",
    ),
    "symphony": (
        "scaler_symphony_cluster",
        SymphonyConfig,
        "Has a service of IBM Spectrum Symphony work for a scheduler. Needs IBM's soamapi. Runs until it gets SIGINT, "
        "SIGTERM or SIGHUP, until the scheduler is stopped by a client, or until it has been away for too long.",
    ),
}

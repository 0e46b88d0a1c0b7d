"""Launcher: a supervisor without workers that has a batch system start clusters elsewhere, as the work asks for them.

It is a cluster of the scheduler like any other, so it needs no more than a worker's key and the scheduler's address,
and it finds a scheduler that was started again. It hears how much work there is twice a second, and asks the batch
system every few seconds which jobs there are.

The batch system's commands run in a thread, one at a time: what is decided meanwhile waits for the next word.

Rule 1: told to stop, it ends all its jobs, and stays until they have drained. Ctrl-C does not wait for that.
Rule 2: whatever a batch system says is logged with the job's own words; nothing of it ends the launcher.
Not here: which jobs are wanted (fleet), the connection to the scheduler (cluster.supervisor).
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection
from typing import Any

from scaler.cluster.scaling import Demand
from scaler.cluster.supervisor import Supervisor
from scaler.launch.batch_system import BatchSystem, JobState, LaunchError
from scaler.launch.fleet import Fleet, Launch
from scaler.program.sparing_log import SparingLog

_log = logging.getLogger(__name__)
_sparing = SparingLog(_log)
LOOK_S = 2.0
CLOSE_S = 10.0  # for what the batch system itself has started here
END_S = 30.0  # besides the time to drain, for a batch system's jobs to be gone


class Launcher:
    """`serve()` until stopped. `end_idle_s`: when a job that is not to stay ends by itself."""

    def __init__(
        self,
        supervisor: Supervisor,
        fleet: Fleet,
        batch: BatchSystem,
        *,
        end_idle_s: float,
        drain_s: float,
        is_dry: bool = False,
        look_s: float = LOOK_S,
    ) -> None:
        self._supervisor, self._fleet, self._batch = supervisor, fleet, batch
        self._end_idle_s, self._drain_s, self._is_dry, self._look_s = end_idle_s, drain_s, is_dry, look_s
        self._commanding = asyncio.Lock()  # one command at a time
        self._ending = asyncio.Event()
        self._hurry = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._said = ""
        supervisor.on_demand = self._on_demand

    def stop(self) -> None:
        """End the jobs, and then this."""
        if self._ending.is_set():
            return
        _log.info("launcher ends its %d jobs", len(self._fleet.jobs))
        self._ending.set()

    def stop_at_once(self) -> None:
        """The same, without waiting for them."""
        self._ending.set()
        self._hurry.set()

    async def serve(self) -> None:
        """Until told to stop, or until there is no scheduler any more."""
        connection = asyncio.ensure_future(self._supervisor.serve())
        looking = asyncio.ensure_future(self._keep_looking())
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait([connection, ending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ending.set()
            looking.cancel()
            ending.cancel()
            await self._end_jobs()
            self._supervisor.stop()
            await asyncio.gather(looking, ending, return_exceptions=True)
        await connection

    # what is heard

    def _on_demand(self, demand: Demand, joined: Collection[str]) -> None:
        if self._ending.is_set():
            return
        was_unable = self._fleet.is_unable
        launch = self._fleet.on_demand(demand, joined, time.monotonic())
        if was_unable and not self._fleet.is_unable:
            self._supervisor.tell_unable("")
        if launch is None:
            return
        if self._is_dry:
            self._fleet.on_not_taken(launch)
            self._say_once(f"dry run: launcher would start {len(launch.names)} hosts: {launch.why}")
            return
        _log.info("launcher starts %d hosts (%s): %s", len(launch.names), ", ".join(launch.names), launch.why)
        self._begin(self._launch(launch))

    def _begin(self, what: Any) -> None:
        task = asyncio.ensure_future(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _say_once(self, text: str) -> None:
        about = text.partition(":")[0] + text.partition("hosts")[0]
        if about != self._said:
            self._said = about
            _log.info("%s", text)

    async def _launch(self, launch: Launch) -> None:
        try:
            async with self._commanding:
                jobs = await asyncio.to_thread(
                    self._batch.start, launch.names, 0.0 if launch.stays else self._end_idle_s
                )
            self._fleet.on_launched(launch, jobs)
            _log.info("launched as %s", ", ".join(jobs))
            if self._ending.is_set():
                async with self._commanding:
                    await asyncio.to_thread(self._batch.end, jobs)
        except Exception as error:  # whatever a batch system brings about
            pause_s = self._fleet.on_not_launched(launch, time.monotonic())
            self._on_failure(f"hosts could not be launched: {error}", pause_s)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._look_s)
            if self._fleet.jobs:
                await self._look()

    async def _look(self) -> bool:
        """See which jobs there are. False if the batch system does not say."""
        try:
            async with self._commanding:
                states = await asyncio.to_thread(self._batch.look)
                queued = {job for job, about in self._fleet.jobs.items() if about.state is JobState.QUEUED}
                ended = self._fleet.on_look(states, time.monotonic())
                words = [await asyncio.to_thread(self._batch.words_of, job) for job, _ in ended]
        except Exception as error:
            _sparing.warning(None, "the batch system does not say which jobs there are: %s", error)
            return False
        for (job, about), said in zip(ended, words, strict=True):
            if about.has_joined or self._ending.is_set():
                _log.info("host %s (job %s) has ended", about.name, job)
            else:
                self._on_failure(
                    f"host {about.name} (job {job}) ended before its cluster had joined"
                    + (f"; the last that it said is:\n{said}" if said else " and said nothing"),
                    self._fleet.pause_s,
                )
        for job, state in states.items():
            if job in queued and state is JobState.RUNNING:
                _log.info("host %s (job %s) runs", self._fleet.jobs[job].name, job)
        return True

    def _on_failure(self, why: str, pause_s: float) -> None:
        _log.error("%s\nnothing is launched for %g s", why, pause_s)
        if self._fleet.is_unable:
            self._supervisor.tell_unable(f"no host can be launched: {why}")

    # the end

    async def _end_jobs(self) -> None:
        """Have all jobs end, and wait for that unless somebody is in a hurry."""
        for task in list(self._tasks):
            with contextlib.suppress(Exception):
                await task
        try:
            async with self._commanding:
                await asyncio.to_thread(self._batch.end, list(self._fleet.jobs))
        except LaunchError as error:
            _log.error("jobs could not be ended, and go on until they find no scheduler: %s", error)
            self._hurry.set()
        until_s = time.monotonic() + self._drain_s + END_S
        while self._fleet.jobs and not self._hurry.is_set() and time.monotonic() < until_s:
            await self._look()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), min(0.3, self._look_s))
        if self._fleet.jobs:
            _log.warning("jobs are still there: %s", ", ".join(self._fleet.jobs))
        await asyncio.to_thread(self._batch.close, 0.0 if self._hurry.is_set() else CLOSE_S)

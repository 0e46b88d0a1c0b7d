"""TaskObservers: what clients on other hosts ask about their tasks and hear of them: stacks, output, alarms.

A client's question goes to the scheduler's own bookkeeping (`Listeners`), which has the cluster asked that has the
worker; the answer comes back the same way. What tasks have written goes to the client whose they are.

Rule 1: a client hears of its own tasks only.
Rule 2: a client that does not acknowledge what it is told is told no more output, and later how much it has missed.
Not here: the same for processes of the scheduler's host (scaler.scheduler.pump_peers), who waits for which answer
(scaler.scheduler.questions).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from scaler.protocol.bounds import MOST_ANSWER_LENGTH, MOST_OUTPUT_BYTES, plain_text
from scaler.protocol.frames import TASK_NUMBER_BITS, Alarm, Answer, Body, FrameError, Output, Question, Role
from scaler.protocol.questions import What, dropped_output
from scaler.session.cluster_at_scheduler import ClusterAtScheduler
from scaler.session.session_at_scheduler import SessionAtScheduler

MOST_UNREAD_OUTPUT_BYTES = 4 << 20  # that one client has not acknowledged
BODIES = (Question, Answer, Output, Alarm)
Reply = Callable[[str, str], object]


@dataclass(frozen=True)
class Listeners:
    """What the scheduler does about what other hosts say."""

    on_stack_wanted: Callable[[int, Reply], object] = lambda task, answer: None
    on_output_wanted: Callable[[int, Reply], object] = lambda client, answer: None
    on_answer: Callable[[int, str, str], object] = lambda number, text, problem: None
    on_output: Callable[[int, bytes], object] = lambda client, text: None
    on_alarm: Callable[[str], object] = lambda why: None


class TaskObservers:
    """`sessions` are those that there are, and `ready` those that may have something to say: both are remote_peers'."""

    def __init__(
        self, listeners: Listeners, sessions: Collection[SessionAtScheduler], ready: set[SessionAtScheduler]
    ) -> None:
        self._listeners, self._sessions, self._ready = listeners, sessions, ready

    def on_body(self, session: SessionAtScheduler, body: Body) -> None:
        """A client or a cluster says one of BODIES. FrameError if that is not for it to say."""
        is_client = session.hello.role == Role.CLIENT
        if is_client and isinstance(body, Question):
            self._on_question(session, body)
        elif is_client:
            raise FrameError(f"a client does not say {type(body).__name__}")
        elif isinstance(body, Answer):
            self._listeners.on_answer(body.number, body.text, body.problem)
        elif isinstance(body, Output):
            self._listeners.on_output(body.client, body.text)
        elif isinstance(body, Alarm):
            self._listeners.on_alarm(f"on {session.hello.host_name}: {body.reason}")
        else:
            raise FrameError(f"a cluster does not say {type(body).__name__}")

    def _on_question(self, session: SessionAtScheduler, question: Question) -> None:
        def answer(text: str, problem: str) -> None:
            if session in self._sessions:
                text, problem = plain_text(text, MOST_ANSWER_LENGTH), plain_text(problem)
                self._say(session, Answer(question.number, text, problem))

        if question.task >> TASK_NUMBER_BITS != session.hello.client_bits:
            answer("", "the scheduler answers questions about a client's own tasks only")
        elif question.what == What.STACK:
            self._listeners.on_stack_wanted(question.task, answer)
        elif question.what == What.OUTPUT:
            self._listeners.on_output_wanted(session.hello.client_bits, partial(self._answer_last, session, answer))
        else:
            answer("", "the scheduler does not know what is asked")

    def _answer_last(self, session: SessionAtScheduler, answer: Reply, text: str, problem: str) -> None:
        """Nothing more is to come: what was left out is said before."""
        if session.dropped_output and session in self._sessions:
            self._say(session, Output(session.hello.client_bits, dropped_output(session.dropped_output)))
            session.dropped_output = 0
        answer(text, problem)

    def _say(self, session: SessionAtScheduler, body: Body) -> None:
        session.talk.post(body)
        self._ready.add(session)

    def ask_stack(self, worker: int, number: int, task: int, attempt: int) -> str | None:
        """Have the worker of this index asked what its task does. None if it is not elsewhere, else nothing."""
        for session in self._sessions:
            if isinstance(session, ClusterAtScheduler):
                for peer, index in session.workers.items():
                    if index == worker:
                        self._say(session, Question(number, int(What.STACK), task, peer, attempt))
                        return ""
        return None

    def ask_output(self, client: int, new_number: Callable[[], int]) -> None:
        """Have each cluster say all that this client's tasks have written: `on_output`, then `on_answer`."""
        for session in self._sessions:
            if isinstance(session, ClusterAtScheduler):
                self._say(session, Question(new_number(), int(What.OUTPUT), client << TASK_NUMBER_BITS))

    def tell_output(self, client: int, text: bytes) -> None:
        """Tell a client what its tasks have written."""
        session = self._find_client(client)
        if session is None:
            return
        if session.talk.ledger.unacknowledged_bytes > MOST_UNREAD_OUTPUT_BYTES:
            session.dropped_output += text.count(b"\n")
            return
        if session.dropped_output:
            self._say(session, Output(client, dropped_output(session.dropped_output)))
            session.dropped_output = 0
        self._say(session, Output(client, text[:MOST_OUTPUT_BYTES]))

    def name_of_client(self, bits: int) -> str | None:
        """What people call the client whose tasks' ids begin with these bits; None if it is not elsewhere."""
        session = self._find_client(bits)
        if session is None:
            return None
        hello = session.hello
        whose = " of the tasks in a worker" if hello.is_nested else ""
        return f"client {bits:06x}{whose} (process {hello.pid} on {hello.host_name})"

    def _find_client(self, bits: int) -> SessionAtScheduler | None:
        for session in self._sessions:
            if session.hello.role == Role.CLIENT and session.hello.client_bits == bits:
                return session
        return None

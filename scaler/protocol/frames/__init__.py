"""What frames say, as values: one class per member of the union in protocol/frame.capnp, with the same field names.

The classes stand in session, batch, object and question, as their structs do in the schema's files. A new one is named
in `Body` here, and in UNNUMBERED if it stands outside of the numbered order; codec finds it by its name.

Rule 1: a field left at its default costs no byte worth naming and no time in the codec.
Rule 2: two bodies are equal only if their types are: compare `type(body)` first, since tuples don't.
Not here: Cap'n Proto (codec), the rows of Tasks and Results (scaler._native.RecordBatch), numbering (session.ledger).
"""

from typing import NamedTuple

from scaler.protocol.frames.batch import FLAG_NAMED as FLAG_NAMED
from scaler.protocol.frames.batch import FLAG_OBJECTS as FLAG_OBJECTS
from scaler.protocol.frames.batch import FLAG_REQUEST as FLAG_REQUEST
from scaler.protocol.frames.batch import Cancel as Cancel
from scaler.protocol.frames.batch import Choice as Choice
from scaler.protocol.frames.batch import Forget as Forget
from scaler.protocol.frames.batch import Function as Function
from scaler.protocol.frames.batch import Functions as Functions
from scaler.protocol.frames.batch import Results as Results
from scaler.protocol.frames.batch import Returned as Returned
from scaler.protocol.frames.batch import RunHere as RunHere
from scaler.protocol.frames.batch import Selection as Selection
from scaler.protocol.frames.batch import Tasks as Tasks
from scaler.protocol.frames.batch import Verdict as Verdict
from scaler.protocol.frames.batch import Wait as Wait
from scaler.protocol.frames.batch import Withdraw as Withdraw
from scaler.protocol.frames.batch import Withdrawn as Withdrawn
from scaler.protocol.frames.columns import ALL as ALL
from scaler.protocol.frames.columns import ROWS_PER_SLICE as ROWS_PER_SLICE
from scaler.protocol.frames.columns import column as column
from scaler.protocol.frames.columns import row_count as row_count
from scaler.protocol.frames.columns import slices_of as slices_of
from scaler.protocol.frames.columns import values as values
from scaler.protocol.frames.errors import NAMED_MINOR as NAMED_MINOR
from scaler.protocol.frames.errors import PROTOCOL_MINOR as PROTOCOL_MINOR
from scaler.protocol.frames.errors import PROTOCOL_VERSION as PROTOCOL_VERSION
from scaler.protocol.frames.errors import RESOURCES_MINOR as RESOURCES_MINOR
from scaler.protocol.frames.errors import FrameError as FrameError
from scaler.protocol.frames.errors import VersionError as VersionError
from scaler.protocol.frames.object import Chunk as Chunk
from scaler.protocol.frames.object import Fetched as Fetched
from scaler.protocol.frames.object import Freed as Freed
from scaler.protocol.frames.object import Naming as Naming
from scaler.protocol.frames.object import Objects as Objects
from scaler.protocol.frames.object import Offer as Offer
from scaler.protocol.frames.object import Release as Release
from scaler.protocol.frames.object import Serves as Serves
from scaler.protocol.frames.object import Taken as Taken
from scaler.protocol.frames.question import TASK_NUMBER_BITS as TASK_NUMBER_BITS
from scaler.protocol.frames.question import Alarm as Alarm
from scaler.protocol.frames.question import Answer as Answer
from scaler.protocol.frames.question import Output as Output
from scaler.protocol.frames.question import Question as Question
from scaler.protocol.frames.session import CLIENT_BITS as CLIENT_BITS
from scaler.protocol.frames.session import Acknowledge as Acknowledge
from scaler.protocol.frames.session import Clear as Clear
from scaler.protocol.frames.session import Demand as Demand
from scaler.protocol.frames.session import Goodbye as Goodbye
from scaler.protocol.frames.session import Heartbeat as Heartbeat
from scaler.protocol.frames.session import Hello as Hello
from scaler.protocol.frames.session import Joined as Joined
from scaler.protocol.frames.session import Leaving as Leaving
from scaler.protocol.frames.session import Left as Left
from scaler.protocol.frames.session import Refusal as Refusal
from scaler.protocol.frames.session import Role as Role
from scaler.protocol.frames.session import Shutdown as Shutdown
from scaler.protocol.frames.session import ShutdownAnswer as ShutdownAnswer
from scaler.protocol.frames.session import Unable as Unable
from scaler.protocol.frames.session import Usage as Usage
from scaler.protocol.frames.session import Welcome as Welcome
from scaler.protocol.frames.session import Workers as Workers

Body = (
    Acknowledge
    | Hello
    | Welcome
    | Refusal
    | Heartbeat
    | Usage
    | Demand
    | Goodbye
    | Tasks
    | Results
    | Functions
    | Forget
    | Cancel
    | Wait
    | RunHere
    | Returned
    | Withdraw
    | Withdrawn
    | Release
    | Freed
    | Joined
    | Leaving
    | Left
    | Clear
    | Shutdown
    | ShutdownAnswer
    | Unable
    | Workers
    | Chunk
    | Offer
    | Fetched
    | Serves
    | Taken
    | Question
    | Answer
    | Output
    | Alarm
)

UNNUMBERED = frozenset({Acknowledge, Hello, Welcome, Refusal, Heartbeat, Usage, Demand})


class Frame(NamedTuple):
    """One message on the wire. `number` is 0 for a body of UNNUMBERED and positive for all others."""

    body: Body
    number: int = 0
    acknowledged: int = 0

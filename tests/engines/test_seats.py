"""Which tasks go into the next job, and when. No engine, no clock."""

from scaler.engines.seats import Item, Running, Seat, Seats

ALONE = 1  # the word of a task that may not be tried again
DIED = 1 << 20
ROOT = 5  # of a nested task


def make(**rules):
    return Seats(**{"most_tasks": 1000, "shares_fate": False, "base_concurrency": None, **rules})


def seats_of(seats: Seats, count: int) -> list[Seat]:
    made = [Seat(number, f"seat-{number}") for number in range(count)]
    for seat in made:
        seats.add(seat)
    return made


def put(seats: Seats, seat: Seat, task: int, options: int = 0, detail: int = 0, limit_ms: int = 0) -> Item:
    item = Item(seat, task, 1, 1, 0, 0, detail, options, limit_ms, b"")
    seats.put(item)
    return item


def jobs(seats: Seats) -> list[Running]:
    found = []
    while (job := seats.next_job()) is not None:
        found.append(job)
    return found


def tasks(job: Running) -> list[int]:
    return [item.task for item in job.items]


def test_all_that_waits_at_a_seat_becomes_one_job_and_what_comes_meanwhile_the_next():
    seats = make()
    one, other = seats_of(seats, 2)
    for task in range(5):
        put(seats, one, task)
    put(seats, other, 5)
    first = jobs(seats)
    assert [tasks(job) for job in first] == [[0, 1, 2, 3, 4], [5]]
    put(seats, one, 6)
    put(seats, one, 7)
    assert jobs(seats) == []
    seats.end(first[0])
    assert [tasks(job) for job in jobs(seats)] == [[6, 7]]


def test_a_job_has_no_more_tasks_and_bytes_than_it_may():
    seats = make(most_tasks=3)
    (seat,) = seats_of(seats, 1)
    for task in range(4):
        put(seats, seat, task)
    (job,) = jobs(seats)
    assert tasks(job) == [0, 1, 2]


def test_what_may_be_somebody_else_s_harm_has_a_job_of_its_own():
    seats = make()
    (seat,) = seats_of(seats, 1)
    put(seats, seat, 1)
    put(seats, seat, 2, options=ALONE)
    put(seats, seat, 3, limit_ms=10)
    put(seats, seat, 4, options=DIED)
    put(seats, seat, 5)
    order = []
    while found := jobs(seats):
        order.append(tasks(found[0]))
        seats.end(found[0])
    assert order == [[1, 5], [2], [3], [4]]


def test_where_all_share_one_fate_what_a_worker_has_died_of_runs_by_itself():
    seats = make(shares_fate=True)
    one, other = seats_of(seats, 2)
    put(seats, one, 1)
    put(seats, other, 2, options=DIED)
    (first,) = jobs(seats)
    assert tasks(first) == [1]
    seats.end(first)
    put(seats, one, 3, options=DIED)
    (second,) = jobs(seats)
    assert jobs(seats) == []
    seats.end(second)
    (third,) = jobs(seats)
    assert {*tasks(second), *tasks(third)} == {2, 3}


def test_nested_tasks_go_beyond_the_base_concurrency_and_first():
    seats = make(base_concurrency=1, most_tasks=1)
    one, other = seats_of(seats, 2)
    put(seats, one, 1)
    (parent,) = jobs(seats)
    put(seats, other, 2)
    assert jobs(seats) == []
    put(seats, one, 3, detail=ROOT)
    put(seats, other, 4, detail=ROOT)
    nested = jobs(seats)
    assert [tasks(job) for job in nested] == [[3], [4]]
    for job in nested:
        seats.end(job)
    assert jobs(seats) == []
    seats.end(parent)
    put(seats, other, 5, detail=ROOT)
    assert [tasks(job) for job in jobs(seats)] == [[5], [2]]


def test_a_task_is_known_by_its_attempt_until_it_is_answered_or_taken_back():
    seats = make()
    (seat,) = seats_of(seats, 1)
    first, second = put(seats, seat, 1), put(seats, seat, 2)
    assert seats.find(0, 1, 1) is first
    assert seats.find(1, 1, 1) is None
    assert seats.find(0, 1, 2) is None
    seats.drop(first)
    assert seats.find(0, 1, 1) is None
    (job,) = jobs(seats)
    assert tasks(job) == [2]
    assert seats.is_open(second)
    seats.end(job)
    seats.put_back(job.items)
    assert [tasks(job) for job in jobs(seats)] == [[2]]


def test_a_seat_that_leaves_says_what_it_had_begun_and_not_answered():
    seats = make()
    (seat,) = seats_of(seats, 1)
    items = [put(seats, seat, task) for task in range(3)]
    (job,) = jobs(seats)
    put(seats, seat, 7)
    seats.drop(items[1])
    assert [item.task for item in seats.remove(seat)] == [0, 2]
    assert jobs(seats) == []
    seats.end(job)

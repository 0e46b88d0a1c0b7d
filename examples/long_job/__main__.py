"""Run a long job, kill its scheduler in the midst of it, start another: nothing is lost. `python -m examples.long_job`.

On a cluster whatever starts the scheduler (systemd, Kubernetes) does what this program does here by hand: it starts
the scheduler again at the same address.
"""

import time

from scaler import Client, Cluster, Scheduler, as_completed

TASKS, STEP = 300, 100


def work(number: int) -> int:
    """Something that takes a moment."""
    time.sleep(0.01)
    return number * number


def main() -> None:
    scheduler = Scheduler(None)
    address = scheduler.get_address()
    with Cluster(address, n_workers=2), Client(address) as client:
        futures = [client.submit(work, number) for number in range(TASKS)]
        total = 0
        for done, future in enumerate(as_completed(futures), 1):
            total += future.result()
            if done % STEP == 0:
                print(f"{done} of {TASKS} tasks are done")
            if done == STEP:
                assert scheduler.child is not None
                scheduler.child.process.kill()
                scheduler.child.process.wait()
                print("the scheduler is killed")
                scheduler = Scheduler(address)
                print("another is there, at the same address")
        assert total == sum(number * number for number in range(TASKS))
        print(f"the sum of the squares is {total:,}: each result came once")
    scheduler.shutdown()


if __name__ == "__main__":
    main()

"""In place of multiprocessing.Pool: the lengths of Collatz sequences. `python -m examples.pool`.

With `from multiprocessing import Pool`, all else is the same.
"""

from scaler.pool import Pool


def steps(n: int) -> int:
    """How many steps it takes to come to 1."""
    count = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        count += 1
    return count


def main() -> None:
    with Pool(2) as pool:
        lengths = pool.map(steps, range(1, 20_000))
        longest = max(lengths)
        print(f"{lengths.index(longest) + 1} takes {longest} steps")

        for n, count in enumerate(pool.imap(steps, range(1, 1_000_000)), 1):
            if count > 150:
                print(f"{n} is the first that takes more than 150")
                break
        later = pool.apply_async(steps, (27,), callback=lambda count: print(f"27 takes {count}"))
        later.wait()


if __name__ == "__main__":
    main()

"""Value a book of options by Monte Carlo. `python -m examples.pricing`."""

import numpy as np

from examples.pricing.model import GREEKS, Array, Option, black_scholes, simulate
from scaler import Client, ScalerFuture, SchedulerClusterCombo

BATCHES, PATHS = 10, 40_000


def make_book() -> list[Option]:
    """Calls and puts around the money for three times, and two Asian options."""
    european = [
        Option(kind, 100.0, strike, years, 0.2 + 0.001 * (100 - strike), 0.03, position)
        for years in (0.25, 1.0, 2.0)
        for strike, position in ((90.0, 50), (100.0, -120), (110.0, 80))
        for kind in ("call", "put")
    ]
    asian = [Option("asian", 100.0, strike, 1.0, 0.2, 0.03, 40) for strike in (95.0, 105.0)]
    return european + asian


def value(client: Client, book: list[Option]) -> list[tuple[Array, Array]]:
    """Of each option the Greeks and their standard errors. Every batch is a task, with random numbers of its own."""
    seeds = np.random.SeedSequence(2024).spawn(len(book) * BATCHES)
    batches: list[list[ScalerFuture[Array]]] = [
        [client.submit(simulate, option, seeds[n * BATCHES + batch], PATHS) for batch in range(BATCHES)]
        for n, option in enumerate(book)
    ]
    valued = []
    for futures in batches:
        sums = np.sum([future.result() for future in futures], axis=0)
        mean, mean_of_squares = sums.T / (BATCHES * PATHS)
        valued.append((mean, np.sqrt((mean_of_squares - mean**2) / (BATCHES * PATHS))))
    return valued


def main() -> None:
    book = make_book()
    with SchedulerClusterCombo(n_workers=2) as combo, Client(combo.get_address()) as client:
        valued = value(client, book)

    print("option              value   error   exact   delta   gamma    vega")
    total = np.zeros(len(GREEKS))
    for option, (mean, error) in zip(book, valued, strict=True):
        name = f"{option.kind:5} {option.strike:5.0f} {option.years:4.2f}y"
        exact = "      -"
        if option.kind != "asian":
            reference = black_scholes(option)
            assert abs(mean[0] - reference) < 4 * error[0], f"{name}: {mean[0]} is not {reference}"
            exact = f"{reference:7.3f}"
        gamma = "      -" if option.kind == "asian" else f"{mean[2]:7.4f}"
        print(f"{name}   {mean[0]:7.3f} {error[0]:7.3f} {exact} {mean[1]:7.3f} {gamma} {mean[3]:7.2f}")
        total += option.position * np.nan_to_num(mean)
    print(f"the book is worth {total[0]:,.0f}; a share more or less changes that by {total[1]:,.0f}")
    print(f"{len(book)} options, {len(book) * BATCHES} tasks of {PATHS:,} paths; every exact value was met")


if __name__ == "__main__":
    main()

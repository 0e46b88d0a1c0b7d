"""Solve for the volatilities of 20,000 quotes, some of which are wrong. `python -m examples.implied_volatility`.

Each call takes some tens of microseconds. That is too little to be sent by itself in most engines; here one `map` over
the quotes is all it takes.
"""

from examples.implied_volatility.chain import Quote, implied_volatility, make_chain, smile
from scaler import Client, SchedulerClusterCombo

STRIKES, EXPIRIES = 200, 100
WRONG = {17: 250.0, 4_711: 0.0, 19_999: -1.0}  # prices that no call can have, as feeds bring them


def main() -> None:
    chain = make_chain(STRIKES, EXPIRIES)
    quotes = [quote._replace(price=WRONG.get(n, quote.price)) for n, quote in enumerate(chain)]
    with SchedulerClusterCombo(n_workers=2) as combo, Client(combo.get_address()) as client:
        solved = client.map(implied_volatility, quotes, return_exceptions=True)

    worst = 0.0
    for n, (quote, found) in enumerate(zip(quotes, solved, strict=True)):
        if isinstance(found, BaseException):
            print(f"quote {n}: {found}")
        else:
            worst = max(worst, abs(found - smile(quote.strike, quote.years)))
    assert worst < 1e-6, worst
    print(f"{len(quotes):,} quotes; the largest error of a volatility is below a millionth")
    show_smile(quotes, solved)


def show_smile(quotes: list[Quote], solved: list[float | BaseException]) -> None:
    """A part of the surface as a table."""
    strikes = range(25, STRIKES, 50)
    print("years   " + "".join(f"{quotes[m].strike:8.1f}" for m in strikes))
    for expiry in range(0, EXPIRIES, 33):
        row = [solved[expiry * STRIKES + m] for m in strikes]
        print(f"{quotes[expiry * STRIKES].years:5.2f}   " + "".join(f"{100 * float(found):7.2f}%" for found in row))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()

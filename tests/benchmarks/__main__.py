"""How fast the app is here: ``python -m tests.benchmarks``. Prints figures, and judges none.

Without options: a payment beside the same written by hand. It needs a PostgreSQL: the one of
``DATABASE_URL``, in which it creates databases of its own and drops them.
"""

from __future__ import annotations

import argparse
import os
import sys

from tests.benchmarks import sandbox


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    options = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    options.add_argument("--rounds", type=int, default=6)
    options.add_argument("--size", type=int, default=200, help="payments in each round")
    options.add_argument("--scenario", action="append", default=[], help="only this one")
    options.add_argument(
        "--unprepared", action="store_true", help="with Django's default: no prepared statements"
    )
    options.add_argument("--profile", action="store_true", help="where the app spends its time")
    options.add_argument("--scale", type=int, help="beside so many orders, e.g. 1000000")
    options.add_argument("--burst", type=int, help="so many webhooks at once, e.g. 10000")
    options.add_argument("--memory", type=int, help="a worker over so many requests, e.g. 100000")
    options.add_argument("--sandbox", action="store_true", help="the sandbox's figures instead")
    return options


def main(arguments: list[str]) -> None:
    """Run what was asked for."""
    options = parser().parse_args(arguments)
    if options.sandbox:
        sandbox.main()
        return
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    django.setup()
    from tests.benchmarks import payments

    os.environ["DATABASE_PREPARED_STATEMENTS"] = str(int(not options.unprepared))
    server = os.environ.get("DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres")
    if options.scale:
        from tests.benchmarks import scale

        scale.compare(server, options.scale)
        return
    if options.burst or options.memory:
        from tests.benchmarks import pressure

        if options.burst:
            pressure.burst(server, options.burst)
        if options.memory:
            pressure.memory(server, options.memory)
        return
    if options.profile:
        payments.profile(server, size=options.size, chosen=options.scenario)
        return
    payments.compare(server, rounds=options.rounds, size=options.size, chosen=options.scenario)


if __name__ == "__main__":
    main(sys.argv[1:])

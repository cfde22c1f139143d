"""The command line `seatkeeper`: one file per verb, each imported only when it is called, so that help is quick.

A verb is an adapter: it reads its arguments, opens the data directory, has the service do it, and prints. Success is quiet,
failure says what to do next (`_failures.py`).
"""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from io import TextIOWrapper

from cyclopts import App, Parameter

from seatkeeper_server.cli._failures import EXIT_CODES, end_with

_VERBS = (
    ("cloud", "Serve seats on the network.", "seatkeeper cloud --data ./vendor --port 6500"),
    ("sell", "Sell seats of a product to a customer.", "seatkeeper sell acme solver --seats 3 --env > acme.env"),
    (
        "change",
        "Change how many seats were bought, or until when.",
        "seatkeeper change acme/solver --seats 5 --until 2027-12-31",
    ),
    ("ls", "List what was sold.", "seatkeeper ls --json"),
    ("seats", "Show who holds seats.", "seatkeeper seats acme"),
    ("free", "Take a seat back from its holder, keep him out, or let him in again.", "seatkeeper free eve@node7 --block 10m"),
    ("vendor", "Show who sells here, or change whom refused users ask.", "seatkeeper vendor --contact licenses@example.com"),
    ("log", "Show what happened.", "seatkeeper log --since 2h --denied"),
    ("why", "Explain a refusal by its id.", "seatkeeper why D-7K3M2Q"),
    ("doctor", "Examine the server's data, keys, clock and disk.", "seatkeeper doctor --data ./vendor"),
    ("clock", "Put a recorded time right that was wrong.", "seatkeeper clock --set-back"),
    ("verify", "Check that facts, counters and seats say the same.", "seatkeeper verify"),
    ("backup", "Write everything into one file, beside a running server.", "seatkeeper backup vendor-2026-06-01.tar"),
    ("restore", "Restore a backup into an empty place.", "seatkeeper restore vendor-2026-06-01.tar --data ./vendor"),
    (
        "migrate",
        "Move everything from a data directory into PostgreSQL.",
        "seatkeeper migrate --to postgresql://seatkeeper@db.example/vendor --data ./vendor",
    ),
    ("schema", "Show the steps of the schema, or finish an upgrade.", "seatkeeper schema --finish"),
    ("demo", "Watch seats being taken, refused, lost and won back.", "seatkeeper demo"),
)

_GROUPS = (
    (
        "service",
        "Have a server started with the machine, by systemd.",
        30,
        (
            (
                "install",
                "install",
                "Install a server as a service of systemd; called again with other options, it changes that.",
                "sudo seatkeeper service install cloud --host 0.0.0.0 --tls-cert server.pem --tls-key server.key",
            ),
            ("remove", "remove", "Stop a service and forget it. Its data stays.", "sudo seatkeeper service remove cloud"),
        ),
    ),
)

_HELP = """The Seatkeeper license server: sell seats, serve them, see who holds them.

Begin with: seatkeeper cloud & seatkeeper sell acme solver --seats 2 --env > acme.env"""


def _make_app() -> App:
    app = App(
        name="seatkeeper",
        help=_HELP,
        version=lambda: version("seatkeeper-server"),
        help_format="plaintext",
        default_parameter=Parameter(negative=()),
        help_epilogue=EXIT_CODES,
    )
    for order, (verb, does, example) in enumerate(_VERBS):
        if find_spec(f"{__name__}.{verb}") is not None:
            app.command(
                f"{__name__}.{verb}:{verb}",
                name=verb,
                help=does,
                help_epilogue=f"Example: {example}\n\n{EXIT_CODES}",
                sort_key=order,
            )
    code = App(name="code", help="Read activation codes.", sort_key=3)
    code.command(
        f"{__name__}.code:show",
        name="show",
        help="Show the activation codes of an entitlement; that they were read is written down.",
        help_epilogue=f"Example: seatkeeper code show acme/solver\n\n{EXIT_CODES}",
    )
    app.command(code)
    for name, does, order, verbs in _GROUPS:
        group = App(name=name, help=does, sort_key=order)
        for verb, function, says, example in verbs:
            epilogue = f"Example: {example}\n\n{EXIT_CODES}"
            group.command(f"{__name__}.{name}:{function}", name=verb, help=says, help_epilogue=epilogue)
        app.command(group)
    return app


app = _make_app()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the verb that was typed, and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # names may have letters that an old terminal's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    try:
        app(arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        sys.exit(end_with(error))

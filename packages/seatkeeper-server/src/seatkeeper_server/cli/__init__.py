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
    ("local", "Serve the seats that were lent to a site.", "seatkeeper local --data ./site --port 6501"),
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
        "client",
        "Let systems of the vendor's call the Management API.",
        7,
        (
            (
                "create",
                "create",
                "Make an API client, and print its secret, which is shown only now.",
                "seatkeeper client create erp",
            ),
            ("list", "show", "List the API clients; their secrets can't be read again.", "seatkeeper client list --json"),
            ("delete", "delete", "Remove an API client; its tokens end with it.", "seatkeeper client delete erp"),
        ),
    ),
    (
        "site",
        "Lend seats to license servers at customers' sites.",
        18,
        (
            ("list", "list_", "List the local servers, and what is lent to them.", "seatkeeper site list"),
            ("code", "code", "Show the code by which local servers are licensed.", "seatkeeper site code --json"),
            (
                "lend",
                "lend",
                "Lend seats to a local server; print the token to carry there.",
                "seatkeeper site lend acme/solver --to lab-1 --seats 30 --until 2027-12-31 -o lab-1.token",
            ),
            ("fresh", "fresh", "Print a fresh token of what was lent.", "seatkeeper site fresh acme/solver --to lab-1"),
            (
                "back",
                "back",
                "Take back what was lent when its grant has run out.",
                "seatkeeper site back acme/solver --from lab-1",
            ),
            ("renew", "renew", "Renew a local server's own license.", "seatkeeper site renew lab-1 -o lab-1.token"),
            ("forget", "forget", "End the license of a local server that is lost.", "seatkeeper site forget lab-1"),
        ),
    ),
    (
        "token",
        "Carry tokens between a vendor's server and local ones.",
        19,
        (
            (
                "request",
                "request",
                "On a local server: ask for its license.",
                "seatkeeper token request --tenant t_… --code XXXXX-… --name lab-1 -o request.token",
            ),
            ("apply", "apply", "Say what a token is, and apply it.", "seatkeeper token apply lab-1.token"),
            ("show", "show", "Say what a token is and says, without applying it.", "seatkeeper token show lab-1.token"),
            ("report", "report", "On a local server: report its use.", "seatkeeper token report -o report.token"),
            ("remove", "remove", "On a local server: give an entitlement back.", "seatkeeper token remove ent_… -o back.token"),
            (
                "deactivate",
                "deactivate",
                "On a local server: give its license back.",
                "seatkeeper token deactivate -o end.token",
            ),
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
    code = App(name="code", help="Read activation codes.", sort_key=4)
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

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
from seatkeeper_server.cli._typed import what_is_typed_wins
from seatkeeper_server.cli._verbs import GROUPS, VERBS

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
        config=what_is_typed_wins,
    )
    for order, (verb, does, example) in enumerate(VERBS):
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
    for name, does, order, verbs in GROUPS:
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

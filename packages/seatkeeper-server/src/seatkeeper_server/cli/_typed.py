"""What was typed counts before what the environment says, also where two options name one thing: where a verb works."""

from typing import Final

from cyclopts import App, Argument, ArgumentCollection

from seatkeeper_server.cli._failures import Mistyped

SERVER: Final = "--server"
HERE: Final = ("--data", "--database")


def what_is_typed_wins(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Pass over a server that the environment names, where a place was typed; cyclopts calls this before it reads the values.

    Raises:
        Mistyped: both were typed.
    """
    named = {argument.name: argument for argument in arguments}
    server = named.get(SERVER)
    here = [name for name in HERE if name in named and _was_typed(named[name])]
    if server is None or not here:
        return
    if _was_typed(server):
        raise Mistyped(f"{SERVER} and {here[0]} name two places: leave one of them out")
    server.tokens.clear()


def _was_typed(argument: Argument) -> bool:
    return any(token.source == "cli" for token in argument.tokens)

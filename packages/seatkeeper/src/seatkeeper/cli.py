"""The command `seat`: hold a seat while a program runs, take one home, see who holds what, find out what is wrong.

Success is quiet. Failure says what to do and exits non-zero: 69 no server answers, 75 no seat is free, 76 the server can't be
trusted, 77 not authorised or refused by the license, 78 a setting is missing or wrong, or asks for what there will never be;
`seat run` otherwise gives the command's own exit code (128 + n if signal n ended it, 127 if there is no such command, 126 if
it can't be run). Whoever reads the output may stop reading: that is 0, and no complaint.

Reading arguments needs nothing but argparse, so `seat --help` is immediate; what sends requests is loaded by the verb.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from seatkeeper import errors
from seatkeeper.protocol.text import UNSHOWN, visible

if TYPE_CHECKING:
    from seatkeeper._identity import By
    from seatkeeper._settings import Given
    from seatkeeper.protocol.documents import SeatHolder, StatusAnswer

EXIT_CODES: Final[dict[type[errors.SeatkeeperError], int]] = {
    errors.ConfigurationError: 78,
    errors.ServerUnreachable: 69,
    errors.ServerProblem: 69,
    errors.UntrustedServer: 76,
    errors.NotAuthorized: 77,
    errors.NoSeat: 75,
    errors.NoFeature: 75,
    errors.Refused: 77,
    errors.BorrowEnded: 75,
    errors.BorrowedSeatUnusable: 77,
    errors.SeatLost: 75,
}
WAYS: "Final[tuple[By, ...]]" = ("window", "user", "machine", "process", "container", "job")
HOLDERS_SHOWN: Final = 10
USABLE: Final = ("active", "gracePeriod")
STANDINGS: Final = {
    "expired": "the entitlement has expired: ask the vendor to renew it",
    "disabled": "the entitlement is disabled: ask the vendor why",
    "customerDisabled": "the entitlement is disabled: ask whoever manages the licenses",
    "exported": "the entitlement is served by a local license server: point the program there",
    "created": "the entitlement has not started yet",
}

_ENVIRONMENT: Final = """\
settings (`seatkeeper sell … --env` prints them; options and files, see the documentation, do as well):
  SEATKEEPER_SERVER      URL or port@host[,port@host…]   SEATKEEPER_TENANT      the vendor's tenant id
  SEATKEEPER_CODE        activation code                 SEATKEEPER_PRODUCT     product id
  SEATKEEPER_CODE_FILE   a file with the code            SEATKEEPER_PUBLIC_KEY  the vendor's root public key
  SEATKEEPER_CA_FILE     certificates to trust           SEATKEEPER_CONTACT     whom to ask when refused
  SEATKEEPER_STATE_DIR   where seats are remembered      HTTPS_PROXY, NO_PROXY  as usual
  SEATKEEPER_CLIENT_CERT_FILE, SEATKEEPER_CLIENT_KEY_FILE   our certificate, if the server asks for one

exit codes:
  69  no server answers, or it can't serve   75  no seat is free, or it was lost   76  the server can't be trusted
  77  not authorised, or the license says no   78  a setting, or what was asked for, is wrong
  seat run otherwise: the command's own; 128 + n if signal n ended it; 127 no such command; 126 it can't be run
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit code."""
    try:
        try:
            return _answer(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            if sys.stdout is not None:  # a program may have been started without one
                sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has seen enough
        _print_no_more()
        return 0


def _answer(arguments: list[str]) -> int:
    asked, command = _split(arguments)
    options = _parser().parse_args(asked)
    try:
        return _perform(options, command)
    except errors.SeatkeeperError as error:
        with suppress(OSError):
            print(f"seat: {error}", file=sys.stderr)
        return exit_code(error)
    except KeyboardInterrupt:
        return 130


def _perform(options: argparse.Namespace, command: list[str]) -> int:
    match options.verb:
        case "run":
            return _run(options, [*options.command, *command])
        case "borrow":
            return _borrow(options)
        case "return":
            return _return(options)
        case "status":
            return _status(options)
        case _:
            return _doctor(options)


def exit_code(error: errors.SeatkeeperError) -> int:
    """Give the exit code of an error: that of the nearest class in the tree, or 78 where waiting for a feature is in vain."""
    if isinstance(error, errors.NoFeature) and not _may_come_back(error):
        return 78
    return next((EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES), 70)


def _may_come_back(error: errors.NoFeature) -> bool:
    """Tell whether the server advises to wait; it doesn't if there is no such feature, or never as much of it."""
    return error.denial is not None and any(remedy.kind == "wait" for remedy in error.denial.remedies)


def _run(options: argparse.Namespace, command: list[str]) -> int:
    from seatkeeper._run import hold_while
    from seatkeeper._view import plan

    if not command:
        raise errors.ConfigurationError("no command given; write: seat run -- ./app")
    features = dict(_feature(text) for text in options.feature)
    by, seat_id = _who(options.seat_id)
    planned = plan(_given(options), features=features, seat_id=seat_id, by=by)
    return hold_while(command, planned, end_on_loss=options.on_loss == "term")


def _borrow(options: argparse.Namespace) -> int:
    from seatkeeper._client import borrow_planned
    from seatkeeper._view import plan

    until = _moment(options.until) if options.until is not None else _length(options.length)
    by, seat_id = _who(options.seat_id)
    planned = plan(_given(options), features=dict(_feature(text) for text in options.feature), seat_id=seat_id, by=by)
    borrowed = borrow_planned(planned, until)
    print(f"borrowed until {errors.local_time(borrowed.until)}: till then this device needs no license server")
    return 0


def _return(options: argparse.Namespace) -> int:
    from seatkeeper._client import return_planned
    from seatkeeper._view import plan

    by, seat_id = _who(options.seat_id)
    until = return_planned(plan(_given(options), features=None, seat_id=seat_id, by=by))
    print(
        f"given back; its place counts until {errors.local_time(until)}, as it was borrowed, unless an administrator frees it"
    )
    return 0


def _moment(text: str) -> datetime:
    """Read a day, which is included, in this device's time zone; or a moment with its zone."""
    try:
        if len(text) == len("2027-01-31"):
            return datetime.combine(date.fromisoformat(text) + timedelta(days=1), time()).astimezone()
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise errors.ConfigurationError(f"--until {text!r} is no date: write 2027-01-31 or 2027-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise errors.ConfigurationError(f"--until {text!r}: say in which time zone, such as 2027-01-31T12:00:00Z")
    return moment


def _length(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdecimal()) or unit not in _UNITS or len(number) > 6:
        raise errors.ConfigurationError(f"--for {text!r} is no length of time: write a number and a unit, such as 12h or 7d")
    return timedelta(**{_UNITS[unit]: int(number)})


_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


def _status(options: argparse.Namespace) -> int:
    from msgspec import json

    from seatkeeper._client import status_of
    from seatkeeper._settings import find_settings

    answer = status_of(find_settings(_given(options), trusting=False))
    if options.json:
        print(_escaped(json.encode(answer).decode()))
    else:
        for line in _status_lines(answer, None if options.all else HOLDERS_SHOWN):
            print(visible(line))
    return 0 if answer.status in USABLE else exit_code(errors.Refused(""))


def _doctor(options: argparse.Namespace) -> int:
    from msgspec import json

    from seatkeeper._doctor import examine

    findings = examine(_given(options))
    if options.json:
        print(_escaped(json.encode(findings).decode()))
    else:
        for finding in findings:
            print(_on_this_console(visible(finding.line())))
    return next((finding.exit_code for finding in findings if finding.ok is False), 0)


def _status_lines(answer: "StatusAnswer", most: int | None) -> list[str]:
    how = f", {_free(answer)}" if answer.status in USABLE else f"; {STANDINGS.get(answer.status, answer.status)}"
    line = f", {answer.line} waiting in line" if answer.line else ""
    lines = [f"{answer.product_name}: {answer.used} of {answer.seats} seats taken{how}{line}"]
    lines += [f"  {_holder_line(holder)}" for holder in answer.holders[:most]]
    hidden = answer.used - len(answer.holders[:most])
    if answer.holders and hidden > 0:
        lines.append(f"  and {hidden} more")
    return lines


def _free(answer: "StatusAnswer") -> str:
    """Say what is free of the seats that were bought, and what overdraft would still give."""
    bought = max(0, answer.seats - answer.used)
    if answer.free is None:
        return f"{bought} free, more without limit"
    beyond = answer.free - bought
    return f"{answer.free} free" if beyond <= 0 else f"{bought} free and {beyond} in overdraft"


def _holder_line(holder: "SeatHolder") -> str:
    since, end = errors.local_time(holder.since), errors.local_time(holder.lease_expiry)
    if holder.borrowed_until is not None:
        return f"{holder.seat_name}  since {since}, borrowed until {end}"
    return f"{holder.seat_name}  since {since}, lease ends {end} unless refreshed"


def _parser() -> argparse.ArgumentParser:
    from importlib.metadata import version

    parser = argparse.ArgumentParser(
        prog="seat",
        description="Hold a network-licensed seat.",
        epilog=_ENVIRONMENT + "\nexample:\n  . ./acme.env; seat run -- ./app",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"seat {version('seatkeeper')}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="run|borrow|return|status|doctor")
    run = _verb(
        verbs, "run", "hold a seat while a command runs", "seat run --feature render=2 --on-loss term -- ./app input.dat"
    )
    _add_feature(run)
    _add_seat_id(run)
    run.add_argument(
        "--on-loss", choices=("continue", "term"), default="continue", help="what becomes of the command: warn only, or SIGTERM"
    )
    run.add_argument("command", nargs=argparse.REMAINDER, help="the command and its arguments, after --")
    borrow = _verb(verbs, "borrow", "take a seat home: then this device needs no license server", "seat borrow --for 7d")
    length = borrow.add_mutually_exclusive_group(required=True)
    length.add_argument("--until", metavar="DATE", help="the last day, such as 2027-01-31; or a moment with its zone")
    length.add_argument("--for", dest="length", metavar="TIME", help="for how long, such as 12h or 7d")
    _add_feature(borrow)
    _add_seat_id(borrow)
    _add_seat_id(_verb(verbs, "return", "give a borrowed seat back before its time", "seat return"))
    status = _verb(verbs, "status", "show how full the pool is and who is in it", "seat status --all")
    status.add_argument(
        "-a", "--all", action="store_true", help=f"all holders that the server names (up to 20), not just {HOLDERS_SHOWN}"
    )
    status.add_argument("--json", action="store_true", help="for programs")
    doctor = _verb(
        verbs,
        "doctor",
        "find out which hop fails on the way to a seat, and examine borrowed ones",
        "seat doctor --server 27000@licenses.example",
    )
    doctor.add_argument("--json", action="store_true", help="for programs")
    return parser


def _add_feature(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--feature", action="append", default=[], metavar="KEY=N", help="a feature granted with the seat, all or none"
    )


def _add_seat_id(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--seat-id", default="window", metavar="WHO", help=f"whom the seat belongs to: {', '.join(WAYS)}, or an id of your own"
    )


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, what: str, example: str
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(
        name,
        help=what,
        description=what[0].upper() + what[1:] + ".",
        epilog=f"{_ENVIRONMENT}\nexample:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for option, words in _SETTINGS.items():
        variable = f"SEATKEEPER_{option.upper().replace('-', '_')}"
        verb.add_argument(f"--{option}", metavar=option.upper(), help=f"{words} [${variable}]")
    return verb


_SETTINGS: Final = {
    "server": "where the license server is: a URL or port@host[,port@host…]",
    "code": "the activation code",
    "tenant": "the vendor's tenant id",
    "product": "the product's id",
    "public-key": "the vendor's root public key; no answer is believed without it",
    "name": "the product's short name: for settings of its own and for messages",
    "ca-file": "certificates of authorities to trust instead of the system's",
    "client-cert-file": "our certificate, where the server asks for one",
    "client-key-file": "its key, if that is in a file of its own",
    "contact": "whom to ask when refused",
}


def _given(options: argparse.Namespace) -> "Given":
    """Give the settings from the command line, which come before all others."""
    from seatkeeper._settings import Given

    names = [option.replace("-", "_") for option in _SETTINGS]
    return Given(**{name: getattr(options, name) for name in names}, insists=True)


def _who(text: str) -> "tuple[By, str | None]":
    """Tell a way of choosing the seat id from a seat id of the user's own."""
    return next(((way, None) for way in WAYS if way == text), ("window", text))


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Part our own arguments from the command after the first `--`."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _feature(text: str) -> tuple[str, int]:
    key, _, amount = text.partition("=")
    if not key or not (amount or "1").isdecimal() or int(amount or "1") < 1:
        raise errors.ConfigurationError(f"--feature {text!r} is not KEY=N, such as render=2")
    return key, int(amount or "1")


def _escaped(document: str) -> str:
    """Write what a terminal would not show, or obey, as escapes of JSON's own."""
    from json import dumps

    return UNSHOWN.sub(lambda found: dumps(found[0])[1:-1], document)


def _print_no_more() -> None:
    """Send whatever is still in the buffer nowhere, so that the interpreter's exit finds nothing to complain about."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _on_this_console(text: str) -> str:
    """Replace what an old console can't show."""
    encoding = sys.stdout.encoding or "ascii"
    return (
        text.replace("✓", "ok").replace("✗", "NO").encode(encoding, "replace").decode(encoding) if _is_plain(encoding) else text
    )


def _is_plain(encoding: str) -> bool:
    try:
        "✓✗–·".encode(encoding)
    except UnicodeEncodeError:
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())

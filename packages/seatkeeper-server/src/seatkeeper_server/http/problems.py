"""Errors become HTTP here, and nowhere else.

The code decides the status (`seatkeeper.protocol.problems`); `details` is a sentence for people; `denial` explains a refusal
to programs. What went wrong inside is logged, never told: an answer carries no path, no query and no stack.
"""

import re
from collections.abc import Hashable, Sequence
from http import HTTPStatus
from typing import Final, NoReturn, TypeVar

import structlog
from msgspec import UNSET, Struct, UnsetType, ValidationError, convert, json
from msgspec.structs import fields

from seatkeeper.protocol.documents import UNREADABLE, Denial, ErrorBody, ValidationProblem
from seatkeeper.protocol.problems import PROBLEMS
from seatkeeper_server.http.mapping import denial_of, sentence_for
from seatkeeper_server.http.messages import CLOSE, JSON, Answer, BodyTooLarge, BodyTooSlow, Header, json_answer
from seatkeeper_server.http.reading import Reader
from seatkeeper_server.service.calls import Refusal
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.desk import Closed, Overloaded
from seatkeeper_server.service.ports import StorageFull, StorageUnavailable

RETRY_AFTER: Final = 1  # seconds, when the database can't be reached
MOST_SHARED: Final = 64  # explanations kept: as many batches and reasons as may be waiting to be answered

log = structlog.get_logger("seatkeeper.http")

Document = TypeVar("Document", bound=Struct)


class ProblemError(Exception):
    """The request is answered with this problem code; `details` is the sentence for people, the code's own if not given.

    `challenge` says how to prove who one is, to clients that ask first (RFC 9110, section 11.6.1).
    """

    def __init__(
        self,
        code: str,
        details: str | None = None,
        *,
        validation: Sequence[ValidationProblem] = (),
        retry_after: int | None = None,
        challenge: str | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.details = details
        self.validation = validation
        self.retry_after = retry_after
        self.challenge = challenge


def problem_answer(
    code: str,
    details: str | None = None,
    *,
    validation: Sequence[ValidationProblem] = (),
    denial: Denial | UnsetType = UNSET,
    headers: Sequence[Header] = (),
    status: int | None = None,
) -> Answer:
    """Give the answer for a problem code. `status` differs from the code's own only for 405, which has no code."""
    problem = PROBLEMS[code]
    status = status or problem.status
    body = ErrorBody(
        error=_PHRASE[status],
        details=details or problem.title,
        error_code=code,
        validation_errors=list(validation) or UNSET,
        denial=denial,
    )
    return json_answer(status, body, *headers)


def refusal_answer(problem: str, refusal: Refusal, contact: str | None) -> Answer:
    """Give the answer that explains a refusal; `contact` is whom its user should ask.

    Refusals of one batch differ in little but their ids, and a flood of them is when it matters: what they share is put into
    words once.
    """
    shared = (
        refusal.occupancy,
        problem,
        refusal.rule,
        refusal.feature,
        refusal.wanted,
        refusal.limit,
        refusal.used,
        refusal.overdraft,
        refusal.product_name,
        refusal.outlook,
        refusal.borrow,
        contact,
    )
    around = _around_id.get(shared)
    if around is None:
        if len(_around_id) >= MOST_SHARED:
            _around_id.clear()
        around = _around_id[shared] = _explained_around_id(problem, refusal, contact)
    before, after = around
    return Answer(PROBLEMS[problem].status, b"%b%b%b" % (before, refusal.denial_id.encode(), after), [JSON])


_around_id: Final[dict[Hashable, tuple[bytes, bytes]]] = {}  # the body of an answer before and after its denial's id


def _explained_around_id(problem: str, refusal: Refusal, contact: str | None) -> tuple[bytes, bytes]:
    denial = denial_of(refusal, contact)
    body = problem_answer(problem, sentence_for(problem, refusal), denial=denial).body
    before, start, after = body.partition(b'"denial":{"id":"')  # in a text, the quotes would be escaped
    return before + start, after.removeprefix(refusal.denial_id.encode())


def answer_to(error: Exception) -> Answer:
    """Give the answer for anything that a handler raised."""
    match error:
        case ProblemError():
            headers = [] if error.retry_after is None else [retry_after(error.retry_after)]
            if error.challenge is not None:
                headers.append((b"www-authenticate", f'{error.challenge} realm="seatkeeper"'.encode()))
            return problem_answer(error.code, error.details, validation=error.validation, headers=headers)
        case CannotDo():
            return problem_answer(error.problem, f"{str(error)[:1].upper()}{str(error)[1:]}")
        case BodyTooLarge():
            return problem_answer("body.tooLarge", str(error), headers=[] if error.drained else [CLOSE])
        case BodyTooSlow():
            return problem_answer("body.unparsable", "The body did not arrive in time.", headers=[CLOSE])
        case StorageFull():
            log.error("storage.full", reason=str(error))
            return problem_answer("storage.full", headers=[retry_after(RETRY_AFTER)])
        case StorageUnavailable():
            log.error("storage.unavailable", reason=str(error))
            return problem_answer("storage.unavailable", headers=[retry_after(RETRY_AFTER)])
        case Overloaded() | Closed():
            return problem_answer("storage.unavailable", str(error.__doc__), headers=[retry_after(RETRY_AFTER)])
        case _:
            # The contract has no code for a bug of ours. What a program should do is what it does when the database is away:
            # ask again, which is harmless even if this attempt was recorded.
            log.error("request.failed", exc_info=error)
            return problem_answer(
                "storage.unavailable",
                "The server met an unexpected error; its log says more. Try again.",
                headers=[retry_after(RETRY_AFTER)],
            )


def retry_after(seconds: int) -> Header:
    """Give the header that says when to ask again."""
    return b"retry-after", b"%d" % max(1, seconds)


_PHRASE: Final = {status.value: status.phrase for status in HTTPStatus}


# --- bodies that are not as they should be -------------------------------------------------------------------------

_MISSING: Final = re.compile(r"^Object missing required field `(?P<field>[^`]+)`")
_PLACE: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)


def read_document(body: bytes, decoder: json.Decoder[Document] | Reader[Document]) -> Document:
    """Read a body.

    Raises:
        ProblemError: `body.unparsable`, or `validation` naming every field that is missing or wrong.
    """
    try:
        return decoder.decode(body)
    except ValidationError as error:
        raise ProblemError("validation", validation=_wrong_fields(body, decoder.type, error)) from None
    except UNREADABLE:
        raise ProblemError("body.unparsable") from None


def wrong_field(name: str, message: str, code: str = "invalid") -> ValidationProblem:
    """Name one field that is missing or wrong."""
    return ValidationProblem(message=message, property_name=name, code=code)


def reject_field(name: str, message: str, code: str = "invalid") -> NoReturn:
    """Refuse the request because of one field.

    Raises:
        ProblemError: `validation`.
    """
    raise ProblemError("validation", validation=[wrong_field(name, message, code)])


def _wrong_fields(body: bytes, document: type[Struct], first: ValidationError) -> list[ValidationProblem]:
    """Look at each field by itself: the decoder stops at the first that is wrong, people want to hear of all."""
    try:
        given = json.decode(body)
    except UNREADABLE:
        raise ProblemError("body.unparsable") from None
    if not isinstance(given, dict):
        return [_explained("", first)]
    found = []
    for each in fields(document):
        if each.encode_name not in given:
            if each.required:
                found.append(wrong_field(each.encode_name, "This field is required.", "required"))
            continue
        try:
            convert(given[each.encode_name], each.type)
        except ValidationError as error:
            found.append(_explained(each.encode_name, error))
    return found or [_explained("", first)]


def _explained(name: str, error: ValidationError) -> ValidationProblem:
    """Turn msgspec's sentence into the field's path and a message."""
    place = _PLACE.match(str(error))
    assert place is not None  # the pattern fits any text
    path = ".".join(part for part in (name, place["path"] or "") if part).replace(".[", "[")
    if (missing := _MISSING.match(place["what"])) is not None:
        return wrong_field(f"{path}.{missing['field']}".lstrip("."), "This field is required.", "required")
    return wrong_field(path, place["what"])

"""What is common to everything that is not hot and is answered by FastAPI: errors, documents, pages of lists.

Every error has the contract's body, whatever raised it: a field that is missing or unknown, a path that isn't there, a use case
that can't do what it was asked for, a bug. Nothing is loaded from anywhere else: there are no pages of FastAPI's own.

Endpoints are plain functions, each run in a thread, and the database's work of one is one call of `Office.do` or `Office.read`.
"""

from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, Protocol, TypeVar, cast

from fastapi import APIRouter, Depends, FastAPI, Query
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from seatkeeper.protocol.documents import ValidationProblem
from seatkeeper_server.http.messages import Answer
from seatkeeper_server.http.problems import ProblemError, answer_to, problem_answer, wrong_field
from seatkeeper_server.service.catalogue import Catalogue, Vault

PAGE: Final = 10  # elements of a page unless asked otherwise
LARGEST_PAGE: Final = 500

_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
_BAD_REQUEST: Final = 400
_WRONG_METHOD: Final = 405

Item = TypeVar("Item")
Result = TypeVar("Result")
Here = TypeVar("Here", contravariant=True)


# --- what endpoints work with --------------------------------------------------------------------------------------


class AnyVisit(Protocol):
    """One transaction or snapshot: what is sold, keys and codes, the leases' time and the calendar's."""

    @property
    def catalogue(self) -> Catalogue:
        """What is sold and what happened."""
        ...

    @property
    def vault(self) -> Vault:
        """Keys and codes."""
        ...

    @property
    def now(self) -> datetime:
        """The time by which leases end."""
        ...

    @property
    def today(self) -> datetime:
        """The time by which entitlements end."""
        ...


Visit = TypeVar("Visit", bound=AnyVisit, covariant=True)


class Office(Protocol[Visit]):
    """Opens visits, from any thread."""

    def do(self, work: Callable[[Visit], Result]) -> Result:
        """Have something done in one transaction; what it comes to is durable when it is given."""
        ...

    def read(self, question: Callable[[Visit], Result]) -> Result:
        """Have a question answered from one snapshot."""
        ...


# --- documents -----------------------------------------------------------------------------------------------------


class Document(BaseModel):
    """What is answered: camelCase on the wire."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Asked(Document):
    """What is asked. A field that we don't know is an error, since a misspelt one would be passed over in silence."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Listed(Document, Generic[Item]):
    """A whole list."""

    items: list[Item]
    elements_total: int


class Paged(Listed[Item], Generic[Item]):
    """A page of a list."""

    page_size: int
    page_number: int


class Page:
    """Which page is asked for, counted from 1."""

    def __init__(
        self,
        page_number: Annotated[int, Query(alias="pageNumber", ge=1, le=1_000_000)] = 1,
        page_size: Annotated[int, Query(alias="pageSize", ge=1, le=LARGEST_PAGE)] = PAGE,
    ) -> None:
        self.number, self.size = page_number, page_size

    @property
    def skip(self) -> int:
        """How many elements come before it."""
        return (self.number - 1) * self.size

    def of(self, items: Sequence[Item], total: int) -> Paged[Item]:
        """Give the page."""
        return Paged(items=list(items), elements_total=total, page_size=self.size, page_number=self.number)


PageAsked = Annotated[Page, Depends()]


def listed(items: Sequence[Item]) -> Listed[Item]:
    """Give a whole list."""
    return Listed(items=list(items), elements_total=len(items))


def expanded(expand: Annotated[str | None, Query(max_length=200)] = None) -> frozenset[str]:
    """Give what is to be told more of: `expand` is a list with commas."""
    return frozenset(part.strip() for part in (expand or "").split(",") if part.strip())


Expanded = Annotated[frozenset[str], Depends(expanded)]


def _in_reach(moment: datetime) -> datetime:
    """Give a moment in UTC, if it is one that there is arithmetic with in every time zone."""
    if not _EARLIEST <= moment < _LATEST:
        raise ValueError(f"Name a moment between {_EARLIEST.year} and {_LATEST.year}.")
    return moment.astimezone(UTC)


MomentAsked = Annotated[AwareDatetime, AfterValidator(_in_reach)]
Since = Annotated[MomentAsked | None, Query(alias="from")]
Until = Annotated[MomentAsked | None, Query(alias="to")]


# --- the application -----------------------------------------------------------------------------------------------


class ToldRoute(APIRoute):
    """A route whose errors are answered as the contract says."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give what answers a request."""
        answered = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await answered(request)
            except Exception as error:
                return response_of(_answer_to(error))

        return told


def router() -> APIRouter:
    """Give a router whose errors are answered as the contract says."""
    return APIRouter(route_class=ToldRoute)


def further_application(title: str, *routers: APIRouter, **state: object) -> FastAPI:
    """Give the application of these routers; `state` is what their endpoints find with `in_state`."""
    app = FastAPI(
        title=title, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, strict_content_type=False
    )
    for each in routers:
        app.include_router(each)
    app.state.routes = [route for each in routers for route in each.routes]
    for name, value in state.items():
        setattr(app.state, name, value)
    app.add_exception_handler(HTTPException, _no_such_route)
    return app


def in_state(request: Request, name: str) -> Any:  # what was put there; its user says what it is
    """Give what the application was made with."""
    return getattr(request.app.state, name)


def response_of(answer: Answer) -> Response:
    """Give an answer of ours as Starlette's."""
    response = Response(answer.body, answer.status)
    response.raw_headers.extend(answer.headers)
    return response


async def _no_such_route(request: Request, error: Exception) -> Response:
    """Answer what no route answers. Of a path that answers to other methods, all of those are told."""
    status = cast("HTTPException", error).status_code
    if status != _WRONG_METHOD:
        return response_of(_answer_to(error))
    methods: set[str] = set()
    for route in in_state(request, "routes"):
        if isinstance(route, APIRoute) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    allowed = ", ".join(sorted(methods))
    return response_of(
        problem_answer(
            "notFound", f"This path answers to {allowed} only.", status=status, headers=[(b"allow", allowed.encode())]
        )
    )


# --- errors --------------------------------------------------------------------------------------------------------


def _answer_to(error: Exception) -> Answer:
    match error:
        case RequestValidationError():
            return answer_to(_wrong(error))
        case HTTPException(status_code=400):
            return problem_answer("body.unparsable")
        case HTTPException():
            return problem_answer("notFound")
        case _:
            return answer_to(error)


def _wrong(error: RequestValidationError) -> ProblemError:
    found = error.errors()
    if any(each["type"] == "json_invalid" for each in found):
        return ProblemError("body.unparsable")
    return ProblemError("validation", validation=[_wrong_field(each) for each in found])


def _wrong_field(each: dict[str, Any]) -> ValidationProblem:  # pydantic's own description of an error
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in each["loc"][1:])
    code = "required" if each["type"] == "missing" else "unknown" if each["type"] == "extra_forbidden" else "invalid"
    message = str(each["msg"]).removeprefix("Value error, ")
    return wrong_field(path.lstrip("."), message, code)

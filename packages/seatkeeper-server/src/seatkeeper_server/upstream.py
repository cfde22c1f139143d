"""A local server's line to its vendor's: it reports by itself, and applies what it is answered.

What goes over the line are the same signed and sealed documents that are carried by hand, so that the line needs to be trusted
with nothing, either way may be used at any time, and an answer that got lost costs one more exchange. Nothing that is served
waits for it: it has a thread of its own, no transaction is open while something is under way, and of several servers on one
database one takes its turn. When the vendor can't be reached it tries again, ever more seldom up to once an hour, for as long
as it takes; what was lent is served meanwhile, until it ends.

    upstream = Upstream(office, send, every=timedelta(minutes=5), chance=random)
    upstream.connect(tenant_id, "https://licenses.example.com", code="…", name="lab-1")
    with upstream.at_work():
        …
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import Final, Protocol, TypeVar

import httpx2
import structlog
from msgspec import DecodeError, Struct, json

from seatkeeper.protocol.text import visible
from seatkeeper_server.domain.backoff import LONGEST, pause_after, pause_between
from seatkeeper_server.domain.sites import SiteState
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.connections import MOST_ERROR, Connection, ConnectionBook, Letter, address
from seatkeeper_server.service.delegation import Applied, License, TokenRefused

PATH: Final = "/api/v1/local-license-servers/exchange"
POLL: Final = 1.0  # seconds between looks at whether something is due, here or by a verb beside the server
TURN: Final = timedelta(minutes=2)  # for which one of several servers keeps the turn
MOST_IN_A_ROW: Final = 50  # exchanges; then the rest waits for the next round
MOST_ANSWERED: Final = 16 * 1024 * 1024  # bytes
STOPS_WITHIN: Final = 5.0  # seconds for which the end of a server waits for an exchange that is under way
TIMEOUT: Final = httpx2.Timeout(30.0, connect=10.0)

Result = TypeVar("Result")

log = structlog.get_logger("seatkeeper.upstream")


class NoAnswer(CannotDo):
    """The vendor's server gave no answer that can be used. The message says why. `problem` is its code, or ours."""

    problem = "vendor.unreachable"

    def __init__(self, text: str, problem: str | None = None) -> None:
        super().__init__(text[:MOST_ERROR])
        if problem is not None:
            self.problem = problem


class Answer(Struct):
    """What a vendor's server answers: what became of a document, whether this server is believed, and what to apply."""

    tokens: list[str]
    text: str = ""
    state: str = SiteState.OK.value


Send = Callable[[Connection, str], Answer]


class Borrower(Protocol):
    """What a local server does with documents, within one transaction: `service.grants.Grants`."""

    def license(self, tenant_id: str | None = None) -> License | None:
        """Give this server's license from a vendor."""
        ...

    def request(self, tenant_id: str, code: str, name: str) -> str:
        """Ask a vendor for a license."""
        ...

    def apply(self, token: str) -> Applied:
        """Apply a document from a vendor."""
        ...

    def next_letter(self, tenant_id: str) -> tuple[Letter, bool] | None:
        """Give the next document to send to a vendor, and whether it is the last word for now."""
        ...

    def heed(self, tenant_id: str, state: SiteState) -> None:
        """Note that the vendor doesn't believe this server."""
        ...


class Visit(Protocol):
    """One transaction or snapshot of a local server's data."""

    @property
    def grants(self) -> Borrower:
        """What was lent to this server."""
        ...

    @property
    def connections(self) -> ConnectionBook:
        """Where vendors are found."""
        ...

    @property
    def now(self) -> datetime:
        """The server's time."""
        ...


class Office(Protocol):
    """Opens visits, from any thread."""

    def do(self, work: Callable[[Visit], Result]) -> Result:
        """Have something done in one transaction."""
        ...

    def read(self, question: Callable[[Visit], Result]) -> Result:
        """Have a question answered from one snapshot."""
        ...


class Upstream:
    """Keeps a local server in step with its vendors, over connections that its administrator has asked for."""

    def __init__(self, office: Office, send: Send, *, every: timedelta, chance: Callable[[], float]) -> None:
        self._office, self._send, self._every, self._chance = office, send, every, chance

    # --- what the administrator asks for ---------------------------------------------------------------------------

    def connect(
        self,
        tenant_id: str,
        url: str,
        *,
        code: str | None = None,
        name: str | None = None,
        ca_file: str | None = None,
        is_plain: bool = False,
    ) -> Connection:
        """Be licensed by a vendor (with a code), and stay in step with him from now on.

        A server that has its license already, however it came, needs no code.

        Raises:
            NoAnswer: he can't be reached, or doesn't license this server; nothing is remembered.
            CannotDo: the URL can't be, or there is neither a code nor a license.
        """
        url = address(url, is_plain=is_plain)
        license_, now = self._office.read(lambda visit: (visit.grants.license(tenant_id), visit.now))
        there = Connection(tenant_id=tenant_id, url=url, ca_file=ca_file, is_plain=is_plain, connected_at=now, next_at=now)
        is_licensed = license_ is not None and license_.status != "notActive"
        if code is not None:
            called = name or (license_.name if license_ is not None else None) or ""
            request = self._office.do(lambda visit: visit.grants.request(tenant_id, code, called))
            self._apply(there, self._send(there, request))
        elif not is_licensed:
            raise CannotDo("this server has no license from that vendor yet: say --code, and a --name for this server")
        self._office.do(lambda visit: visit.connections.save(there))
        self._exchange(there)
        return self._office.read(lambda visit: visit.connections.of(tenant_id)) or there

    def disconnect(self, tenant_id: str) -> list[str]:
        """Go back to carried tokens; give the documents that the vendor has not answered, oldest first: those are carried.

        Raises:
            CannotDo: there is no connection.
        """

        def work(visit: Visit) -> list[str]:
            if visit.connections.of(tenant_id) is None:
                raise CannotDo("this server is not connected to that vendor")
            left = [letter.token for letter in visit.connections.unanswered(tenant_id)]
            visit.connections.drop(tenant_id)
            return left

        return self._office.do(work)

    # --- what is done by itself ------------------------------------------------------------------------------------

    def step(self) -> None:
        """Exchange with every vendor with whom that is due."""
        connections, now = self._office.read(lambda visit: (visit.connections.all(), visit.now))
        latest = now + LONGEST + 2 * self._every
        if any(one.next_at > latest for one in connections):
            self.begin()  # that was noted under a clock that was wrong
        for connection in connections:
            if now < connection.next_at <= latest:
                continue
            tenant_id = connection.tenant_id
            if self._office.do(lambda visit, of=tenant_id: visit.connections.claim(of, visit.now, visit.now + TURN)):  # type: ignore[misc]
                self._exchange(connection)

    def begin(self) -> None:
        """Have everything due: a server that starts exchanges at once."""

        def work(visit: Visit) -> None:
            for one in visit.connections.all():
                visit.connections.save(replace(one, next_at=min(one.next_at, visit.now)))

        if self._office.read(lambda visit: visit.connections.all()):
            self._office.do(work)

    def _exchange(self, connection: Connection) -> None:
        """Exchange until both sides are in step, and note how it went."""
        try:
            for _ in range(MOST_IN_A_ROW):
                if self._is_said(connection):
                    break
        except CannotDo as error:
            self._failed(connection, error)
        else:
            self._succeeded(connection)

    def _is_said(self, connection: Connection) -> bool:
        """Send one document and apply the answer; tell whether everything is said now."""
        tenant_id = connection.tenant_id
        found = self._office.do(lambda visit: visit.grants.next_letter(tenant_id))
        if found is None:
            return True
        letter, is_last = found
        try:
            answer = self._send(connection, letter.token)
        except NoAnswer as refused:
            if refused.problem not in (TokenRefused.REPLAYED, TokenRefused.TOO_OLD):
                raise
            answer = Answer([])  # it has become of it what can; nothing is gained by sending it again
        news = self._apply(connection, answer)
        self._office.do(lambda visit: visit.connections.answered(tenant_id, letter.number))
        return is_last and not news  # news are confirmed by another report, so that seats that were given up come back soon

    def _apply(self, connection: Connection, answer: Answer) -> int:
        """Apply an answer; how much of it was new."""
        if answer.state == SiteState.CLONED:
            self._office.do(lambda visit: visit.grants.heed(connection.tenant_id, SiteState.CLONED))
        return sum(self._is_news(token) for token in answer.tokens)

    def _is_news(self, token: str) -> bool:
        try:
            applied = self._office.do(lambda visit: visit.grants.apply(token))
        except TokenRefused as refused:
            if refused.problem in (TokenRefused.REPLAYED, TokenRefused.TOO_OLD):
                return False  # somebody has carried it, or a later one, meanwhile
            raise NoAnswer(f"what the vendor's server has answered can't be applied: {refused}", refused.problem) from refused
        log.info("upstream.applied", kind=applied.kind, text=applied.text)
        return True

    def _succeeded(self, connection: Connection) -> None:
        def work(visit: Visit) -> None:
            kept = visit.connections.of(connection.tenant_id)
            if kept is None or kept.url != connection.url:
                return  # its administrator has changed his mind
            next_at = visit.now + pause_between(self._every, self._chance())
            visit.connections.save(
                replace(kept, tried_at=visit.now, succeeded_at=visit.now, next_at=next_at, failures=0, error=None)
            )
            if kept.failures:
                log.info("upstream.reached", url=kept.url, failures=kept.failures)

        self._office.do(work)

    def _failed(self, connection: Connection, error: CannotDo) -> None:
        def work(visit: Visit) -> None:
            kept = visit.connections.of(connection.tenant_id)
            if kept is None or kept.url != connection.url:
                return
            failures = kept.failures + 1
            next_at = visit.now + pause_after(failures, self._chance(), self._every)
            visit.connections.save(
                replace(kept, tried_at=visit.now, next_at=next_at, failures=failures, error=visible(str(error)))
            )
            log.warning("upstream.failed", url=kept.url, failures=failures, reason=visible(str(error)))

        self._office.do(work)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Keep in step in a thread, as long as the block lasts."""
        over = Event()
        thread = Thread(target=self._run, args=(over,), name="upstream", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(STOPS_WITHIN)

    def _run(self, over: Event) -> None:
        has_begun = False
        while not over.is_set():
            try:
                if not has_begun:
                    self.begin()
                    has_begun = True
                self.step()
            except Exception as error:
                if not over.is_set():
                    log.warning("upstream.put_off", reason=str(error), exc_info=error)
            over.wait(POLL)


# --- the wire ------------------------------------------------------------------------------------------------------


_read_answer: Final = json.Decoder(Answer).decode


def send(connection: Connection, token: str) -> Answer:
    """Send a document to a vendor's server over HTTPS, and give its answer. HTTPS_PROXY and NO_PROXY are obeyed.

    Raises:
        NoAnswer: there is none that can be used.
    """
    try:
        with (
            httpx2.Client(verify=_trusted(connection), trust_env=True, timeout=TIMEOUT) as client,
            client.stream(
                "POST", connection.url + PATH, json={"token": token}, headers={"N-TenantId": connection.tenant_id}
            ) as response,
        ):
            return _answer(response.status_code, _body(response))
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise NoAnswer(f"{connection.url} can't be reached: {str(error) or type(error).__name__}{_hint(error)}") from error


def _trusted(connection: Connection) -> ssl.SSLContext | bool:
    if connection.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=connection.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise NoAnswer(f"the CA file {connection.ca_file} can't be used: {error.strerror or error}") from error


def _body(response: httpx2.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in response.iter_bytes():
        size += len(part)
        if size > MOST_ANSWERED:
            raise NoAnswer("the vendor's server answers more than can be meant")
        parts.append(part)
    return b"".join(parts)


def _answer(status: int, body: bytes) -> Answer:
    if status == httpx2.codes.OK:
        try:
            return _read_answer(body)
        except (DecodeError, UnicodeDecodeError):
            raise NoAnswer("what answers there is no vendor's server of Seatkeeper: check the URL") from None
    try:
        said = json.decode(body, type=dict[str, object])
    except (DecodeError, UnicodeDecodeError):
        said = {}
    details, problem = said.get("details"), said.get("errorCode")
    if not isinstance(details, str) or not isinstance(problem, str):
        raise NoAnswer(f"what answers there is no vendor's server of Seatkeeper, or a proxy before it: HTTP status {status}")
    raise NoAnswer(f"the vendor's server refuses: {details}", problem if problem in _PASSED_ON else None)


_PASSED_ON: Final = frozenset(
    f"offline.{what}" for what in ("replayed", "tooOld", "wrongServer", "malformed", "forged", "wrongKey", "wrongKind")
) | {"rate.limited", "conflict", "notFound"}


def _hint(error: BaseException | None) -> str:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return "; if its authority is the site's own, name that one's certificate with --ca-file"
        error = error.__cause__ or error.__context__
    return ""

"""Asking how full the pool is and who is in it. Takes no seat, needs no public key; the answer is not signed."""

from seatkeeper._calls import compact
from seatkeeper._settings import Settings
from seatkeeper._talk import PATIENT, Runtime, Talk
from seatkeeper._wire import Call, Outgoing, Unreachable, problem_in, read_answer, unanswered
from seatkeeper.protocol.documents import StatusAnswer, StatusRequest


def status_talk(settings: Settings, runtime: Runtime) -> Talk[StatusAnswer]:
    """Ask the first server that answers.

    Raises:
        SeatkeeperError: none answered, or it refused.
    """
    body = StatusRequest(product_id=settings.product, activation_code=settings.code)
    call, reasons = Call(kind="status", tenant_id=settings.tenant, body=compact(body)), []
    for server in settings.servers:
        try:
            reply = yield Outgoing(server=server, call=call, timeout=PATIENT)
        except Unreachable as error:
            reasons.append(f"{server}: {error}")
            continue
        assert reply is not None
        at = runtime.now().moment
        if not reply.is_success:
            raise problem_in(reply, server=server, at=at, product=settings.name, contact=settings.contact)
        return read_answer(server, reply, StatusAnswer, at)
    raise unanswered(settings.servers, reasons)

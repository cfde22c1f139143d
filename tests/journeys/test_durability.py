"""No answer leaves the server before a sync of the write-ahead log has returned: shown by a trace of its system calls.

SIGKILL can't show this, because the operating system lives on and writes what it was given. With `synchronous=NORMAL`, or
with the answer given before the commit, this test fails.
"""

import asyncio
from pathlib import Path

import pytest

from tests.journeys.tracing import SystemCall, commits, heard, read_trace, said, strace, syncs, traced_to_the_end
from tests.journeys.wire import Caller
from tests.support.servers import CloudServer, Sold, children_of

ANSWERS = 24
STOPS_WITHIN = 120  # seconds; a traced server is slow


async def take_one_after_the_other(sold: Sold) -> None:
    """Take seats, one call at a time, so that each answer belongs to the request before it."""
    for number in range(ANSWERS):
        caller = Caller(sold, f"program-{number}")
        assert (await caller.activate()).status == 201
        caller.hang_up()


def is_durable(request: SystemCall, answer: SystemCall, calls: list[SystemCall]) -> bool:
    """Tell whether between a request and the first byte of its answer something was committed, and then synced."""
    return any(
        request.ended < commit.began and commit.ended < sync.began and sync.ended < answer.began
        for commit in commits(calls)
        for sync in syncs(calls)
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("desk_process", "processes"), [("true", 2), ("false", 1)])
def test_a_sync_of_the_log_returns_before_the_first_byte_of_each_answer(
    tmp_path: Path, desk_process: str, processes: int
) -> None:
    """Between each commit and the first byte of its answer, the write-ahead log was synced; also where one process commits and
    another one answers."""
    trace = tmp_path / "trace"
    server = CloudServer(tmp_path / "data", wrapper=strace(trace), environment={"SEATKEEPER_DESK_PROCESS": desk_process})
    with server:
        sold = server.sell("acme", "solver", seats=ANSWERS)
        asyncio.run(take_one_after_the_other(sold))
        running = 1 + len(children_of(server.pid))
        with traced_to_the_end(server.pid, STOPS_WITHIN):
            code = server.stop(STOPS_WITHIN)
    calls = read_trace(trace)
    requests, answers = heard(calls, b"POST /api/v1/activate"), said(calls, b"HTTP/1.1 201")

    assert (running, code) == (processes, 0)
    assert len(requests) == len(answers) == ANSWERS
    assert [
        at for at, (one, other) in enumerate(zip(requests, answers, strict=True)) if not is_durable(one, other, calls)
    ] == []


def test_the_trace_is_read_as_it_was_meant(tmp_path: Path) -> None:
    """A call that was interrupted began with its first line and ended with its second."""
    trace = tmp_path / "trace"
    trace.write_text(
        '7 pwrite64(5<\\x2f\\x64\\x2d\\x77\\x61\\x6c>, "\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x02"..., 24, 32) = 24\n'
        '7 pwrite64(5<\\x2f\\x64\\x2d\\x77\\x61\\x6c>, "\\x0a", 4096, 56) = 4096\n'
        "7 fdatasync(5<\\x2f\\x64\\x2d\\x77\\x61\\x6c> <unfinished ...>\n"
        '8 write(9<TCP:[127.0.0.1:1->127.0.0.1:2]>, "\\x48\\x54"..., 90) = 90\n'
        "7 <... fdatasync resumed>) = 0\n"
    )
    calls = read_trace(trace)

    assert [commit.began for commit in commits(calls)] == [1]
    assert [(sync.began, sync.ended) for sync in syncs(calls)] == [(2, 4)]
    assert [(answer.began, answer.target) for answer in said(calls, b"HT")] == [(3, "TCP:[127.0.0.1:1->127.0.0.1:2]")]

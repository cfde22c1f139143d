"""What the processes of a server have in common: which signals stop them, where their events go, and how they use memory."""

import gc
import logging
import signal
import sys
from threading import current_thread, main_thread
from typing import Any, Final

import structlog
from structlog.typing import EventDict, WrappedLogger

from seatkeeper.protocol.text import visible

STOPS: Final = (signal.SIGINT, signal.SIGTERM)


def spare_the_collector() -> None:
    """Let the garbage collector look seldom, and only at what was made since: what the server is made of stays.

    Requests leave no cycles behind, but a batch makes thousands of values at once, which starts one collection after the
    other; that was a twentieth of all processor time. In a thread of somebody else's process nothing is changed.
    """
    if current_thread() is not main_thread():
        return
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def log_to_stderr(level: str) -> None:
    """Let events go to stderr: lines for people on a terminal, JSON elsewhere. Standard output belongs to the command."""
    number = logging.getLevelNamesMapping()[level.upper()]
    for_programs: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # Not the renderer's own way to show errors, which prints local variables too: codes and tokens are among them.
    for_terminals: list[Any] = [_made_visible, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    rendered = for_terminals if sys.stderr.isatty() else for_programs
    stamped: list[Any] = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    _let_libraries_log_alike(max(number, logging.INFO), [structlog.stdlib.add_logger_name, *stamped], rendered)
    structlog.configure(
        processors=[*stamped, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _let_libraries_log_alike(level: int, stamped: list[Any], rendered: list[Any]) -> None:
    """Have what uvicorn and others log go through the same processors, so that a log has one format."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=stamped, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler])


def _made_visible(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Escape what a client sent and a terminal would obey; JSON does so by itself."""
    return {key: visible(value) if isinstance(value, str) else value for key, value in event.items()}

"""`seat run`: hold a seat while a command lives.

The command runs in the caller's terminal and process group. Signals sent to `seat` go on to it; when the terminal itself
sends SIGINT or SIGQUIT, the command has it already. The seat is given back when the command ends, also when it was killed.
If `seat` itself is killed outright, the command lives on and the seat comes back when its lease ends.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Final

from seatkeeper._client import Seat
from seatkeeper._seat import State
from seatkeeper._view import Plan
from seatkeeper.errors import SeatLost

NO_SUCH_COMMAND: Final = 127
NOT_EXECUTABLE: Final = 126
_FORWARDED: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_FROM_TERMINAL: Final = ("SIGINT", "SIGQUIT")


def hold_while(command: Sequence[str], planned: Plan, *, end_on_loss: bool) -> int:
    """Take a seat, run the command, give the seat back, and give the command's exit code.

    Raises:
        SeatkeeperError: there is no seat to be had; the command was not started.
    """
    if shutil.which(command[0]) is None:
        is_there = os.path.dirname(command[0]) and os.path.exists(command[0])
        _say(f"{command[0]!r} can't be run: it is no program" if is_there else f"there is no command {command[0]!r}")
        return NOT_EXECUTABLE if is_there else NO_SUCH_COMMAND
    child = _Child(command, end_on_loss=end_on_loss)
    child.listen()
    with Seat(planned, on_change=child.on_change, on_loss=child.on_loss):
        return child.live()


class _Child:
    """The command, from before it starts until its exit code is known."""

    def __init__(self, command: Sequence[str], *, end_on_loss: bool) -> None:
        self._command = list(command)
        self._end_on_loss = end_on_loss
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = False
        self._early: list[int] = []  # signals that came while the command was being started
        self._was_lost = False

    def listen(self) -> None:
        """Take in the signals that are to be forwarded."""
        for name in _FORWARDED:
            number = getattr(signal, name, None)  # Windows has two of them
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # `nohup seat run` stays so
                signal.signal(number, self._forward)

    def live(self) -> int:
        """Run the command to its end and give its exit code."""
        self._starting = True
        try:
            self._process = subprocess.Popen(self._command)  # noqa: S603  running it is the very purpose
        except OSError as error:
            _say(f"{self._command[0]}: {error.strerror or error}")
            return NOT_EXECUTABLE
        for number in self._early:
            self._forward(number, None)
        code = self._process.wait()
        return code if code >= 0 else 128 - code

    def on_change(self, state: State) -> None:
        """Tell the user that the seat is held again."""
        if state == "held" and self._was_lost:
            self._was_lost = False
            _say("the seat is held again")

    def on_loss(self, loss: SeatLost) -> None:
        """Warn, and end the command if that was asked for."""
        self._was_lost = True
        _say(f"the seat is lost: {loss}")
        if self._end_on_loss and self._process is not None:
            _say("ending the command")
            with suppress(ProcessLookupError):
                self._process.terminate()

    def _forward(self, number: int, frame: FrameType | None) -> None:
        if self._process is None and self._starting:
            self._early.append(number)  # to raise now would leave a command behind that nobody waits for
            return
        if self._process is None:
            raise SystemExit(128 + number)  # nothing runs yet; the seat, if any, is given back on the way out
        if signal.Signals(number).name in _FROM_TERMINAL and (sys.platform == "win32" or _in_foreground()):
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(number)


def _in_foreground() -> bool:
    """Tell whether the terminal's keys reach this process group, and so the command, directly."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _say(text: str) -> None:
    with suppress(OSError):
        sys.stderr.write(f"seat: {text}\n")
        sys.stderr.flush()

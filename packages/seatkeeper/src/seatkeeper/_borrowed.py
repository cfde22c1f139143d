"""Borrowed seats as they are kept on this device: the one kind of lease that a program may start on without any server.

What is kept is the lease with its certificate, and from when it counts. Before a program starts on it, all of this holds:

- The pinned root's chain verifies, every time, and the lease is of this tenant, product and seat.
- It names this device's key (`dev`), which lies in a place of its own, and the record is signed by that key.
- The nonce that the server signed into it was made with this machine's fingerprint (`bound`). So a folder that is copied to
  another machine, keys and all, is of no use there: nobody but the server can sign another nonce.
- The clock is not behind the latest moment that was seen here. That moment is kept in two places, only ever rises, and the
  boot clock carries it on; what is left of the lease is counted against it. A server's word for the seat begins it anew.

What this can't stop: who restores a whole machine, clock and all, to what it was, or changes this program.
"""

import hmac
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct, json, structs

from seatkeeper._clock import Instant
from seatkeeper._identity import fingerprint
from seatkeeper._storage import key_folder, make_private, replace_file, state_folder
from seatkeeper.errors import BorrowedSeatUnusable, BorrowEnded, ClockSetBack, ConfigurationError, OtherDevice, local_time
from seatkeeper.protocol.documents import UNREADABLE
from seatkeeper.protocol.ids import b64url

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

log = logging.getLogger("seatkeeper")

ALLOWANCE: Final = 300.0  # seconds by which a clock may be set back: people and time servers correct clocks
SEEN_EVERY: Final = 60.0  # seconds between two notes of the moment, while a program runs
_BINDING: Final = 43  # characters of a digest
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Seen(Struct, frozen=True, kw_only=True):
    """A moment that was seen: by the wall clock, and by the boot clock of that boot."""

    wall: float
    boot: float = 0.0
    boot_id: str = ""
    signature: str = ""  # of one that is kept by itself

    def at_least(self, now: Instant, boot_id: str) -> float:
        """Give the moment that it must be now, at the earliest, by the wall clock as it was then."""
        passed = now.boot - self.boot if self.boot_id and self.boot_id == boot_id else 0.0
        return self.wall + max(passed, 0.0)


class Record(Struct, frozen=True, kw_only=True):
    """A borrowed seat: its lease, the certificate and the nonce to verify it with, and from when it counts."""

    tenant: str
    product: str
    seat_id: str
    slot: int | None
    lease: str
    certificate: str
    nonce: str
    sent_at: float  # when the call that got it was first sent, by the wall clock
    seen: Seen
    signature: str = ""


_read_record = json.Decoder(Record).decode
_read_seen = json.Decoder(Seen).decode


class Borrowings:
    """What this device has borrowed of one product."""

    def __init__(self, *, tenant: str, product: str, device: "Ed25519PrivateKey", folder: Path | None = None) -> None:
        self._tenant = tenant
        self._product = product
        self._device = device
        self._folder = (folder or state_folder()) / "borrowed"
        self._fingerprint: str | None = None
        self._noted = 0.0  # when the moment was last noted, by the boot clock
        self.records = self._load()

    # --- what there is ---------------------------------------------------------------------------------------------

    @property
    def slots(self) -> Sequence[int]:
        """The slots whose seats are borrowed: a program takes one of them before any other."""
        return sorted(record.slot for record in self.records.values() if record.slot is not None)

    def of(self, seat_id: str) -> Record | None:
        """Give what is borrowed under a seat id."""
        return self.records.get(seat_id)

    def elsewhere(self, seat_id: str) -> BorrowedSeatUnusable | None:
        """Say why nothing of what lies here is for this seat id, if something lies here."""
        others = [record for record in self.records.values() if record.seat_id != seat_id]
        if not others:
            return None
        if not any(self._is_of_this_device(record) for record in others):
            return _of_another_device()
        return BorrowedSeatUnusable(
            "the seat borrowed on this device is another one, perhaps in use by another program: end that, or connect"
        )

    # --- starting on it --------------------------------------------------------------------------------------------

    def require_own(self, record: Record) -> None:
        """Check that a record was made on this device.

        Raises:
            OtherDevice: it was not, or was changed.
        """
        if not self._is_of_this_device(record):
            raise _of_another_device()

    def elapsed(self, record: Record, length: float, now: Instant) -> float:
        """Give the seconds of a lease that are over, by the latest moment that was seen.

        Raises:
            ClockSetBack: the clock is behind that moment, or the note of it is gone.
            BorrowEnded: none are left.
        """
        boot_id = _boot_id()
        latest = max(record.seen.at_least(now, boot_id), self._seen_apart().at_least(now, boot_id))
        if now.wall < latest - ALLOWANCE:
            raise ClockSetBack(
                f"this device's clock says {_told(now.wall)}, but it was {_told(latest)} here before: set it right, or connect"
                " to the license server"
            )
        elapsed = max(now.wall, latest) - record.sent_at
        if elapsed >= length:
            raise BorrowEnded(
                f"the time for which this seat was borrowed was over at {_told(record.sent_at + length)}: connect to the"
                " license server to take a seat, or to borrow one again"
            )
        return elapsed

    # --- keeping it ------------------------------------------------------------------------------------------------

    def bound(self, nonce: str) -> str:
        """Give a nonce that says, to who has this machine's fingerprint, on which machine it was made."""
        return f"{nonce}-{self._binding(nonce)}"

    def is_bound(self, nonce: str) -> bool:
        """Tell whether a nonce was made on this machine."""
        return hmac.compare_digest(nonce, self.bound(nonce[: -_BINDING - 1]))

    def require_place(self) -> None:
        """See that what is borrowed can be kept, before anything is asked for.

        Raises:
            ConfigurationError: it can't be.
        """
        try:
            make_private(self._folder)
            probe = self._folder / ".probe"
            probe.touch(mode=0o600)
            probe.unlink()
            if not (key_folder() / "device.key").exists():
                raise OSError("the device's key can't be kept")
        except OSError as error:
            raise ConfigurationError(f"a borrowed seat can't be kept on this device: {error}") from error

    def keep(
        self, *, seat_id: str, slot: int | None, lease: str, certificate: str, nonce: str, sent_at: float, now: Instant
    ) -> None:
        """Keep a borrowed seat that a server has just given; its word begins the latest moment anew.

        Raises:
            ConfigurationError: it can't be kept.
        """
        seen = _seen(now.wall, now)
        record = Record(
            tenant=self._tenant,
            product=self._product,
            seat_id=seat_id,
            slot=slot,
            lease=lease,
            certificate=certificate,
            nonce=nonce,
            sent_at=sent_at,
            seen=seen,
        )
        try:
            self._write(record)
            self._note_apart(seen)
        except OSError as error:
            raise ConfigurationError(f"a borrowed seat can't be kept on this device: {error}") from error

    def saw(self, seat_id: str, now: Instant, *, at_once: bool = False) -> None:
        """Note the moment, from time to time. Where that can't be written, the moment noted before still holds."""
        record = self.records.get(seat_id)
        if record is None or (not at_once and 0 <= now.boot - self._noted < SEEN_EVERY):
            return
        self._noted, boot_id = now.boot, _boot_id()
        with suppress(OSError, ClockSetBack):
            latest = max(now.wall, record.seen.at_least(now, boot_id), self._seen_apart().at_least(now, boot_id))
            self._write(structs.replace(record, seen=_seen(latest, now)))
            self._note_apart(_seen(latest, now))

    def forget(self, seat_id: str) -> None:
        """Forget what was borrowed under a seat id."""
        if self.records.pop(seat_id, None) is not None:
            with suppress(OSError):
                self._path(seat_id).unlink()

    # --- files -----------------------------------------------------------------------------------------------------

    @property
    def _apart(self) -> Path:
        """Where the latest moment is kept beside the device's key, apart from what it guards."""
        return key_folder() / "seen.json"

    def _seen_apart(self) -> Seen:
        try:
            seen = _read_seen(self._apart.read_bytes())
        except (OSError, *UNREADABLE):
            seen = Seen(wall=0.0)
        if not hmac.compare_digest(seen.signature, self._signed(seen).signature):
            raise ClockSetBack("what this device knew of the time is gone: connect to the license server")
        return seen

    def _note_apart(self, seen: Seen) -> None:
        replace_file(self._apart, json.encode(self._signed(seen)))

    def _signed(self, seen: Seen) -> Seen:
        said = json.encode(["seatkeeper-seen", *structs.astuple(structs.replace(seen, signature=""))])
        return structs.replace(seen, signature=b64url(self._device.sign(said)))

    def _load(self) -> dict[str, Record]:
        try:
            paths = sorted(self._folder.glob("*.json"))
        except OSError:
            return {}
        found = [record for path in paths if (record := _record_in(path)) is not None]
        return {one.seat_id: one for one in found if (one.tenant, one.product) == (self._tenant, self._product)}

    def _path(self, seat_id: str) -> Path:
        name = sha256("\0".join((self._tenant, self._product, seat_id)).encode()).hexdigest()[:32]
        return self._folder / f"{name}.json"

    def _write(self, record: Record) -> None:
        signed = structs.replace(record, signature=b64url(self._device.sign(_said(record))))
        replace_file(self._path(record.seat_id), json.encode(signed))
        self.records[record.seat_id] = signed

    def _is_of_this_device(self, record: Record) -> bool:
        own = structs.replace(record, signature=b64url(self._device.sign(_said(record))))  # Ed25519 signs alike each time
        return hmac.compare_digest(own.signature, record.signature) and self.is_bound(record.nonce)

    def _binding(self, nonce: str) -> str:
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self._tenant)
        return b64url(sha256(f"seatkeeper-borrowed\0{nonce}\0{self._fingerprint}".encode()).digest())


def _record_in(path: Path) -> Record | None:
    try:
        return _read_record(path.read_bytes())
    except (OSError, *UNREADABLE):
        return None


def _said(record: Record) -> bytes:
    return json.encode(["seatkeeper-borrowed", *structs.astuple(structs.replace(record, signature=""))])


def _seen(wall: float, now: Instant) -> Seen:
    return Seen(wall=wall, boot=now.boot, boot_id=_boot_id())


def _boot_id() -> str:
    """Give the name of this boot, where the system has one; elsewhere the wall clock alone tells."""
    try:
        return _BOOT_ID.read_text().strip() if os.name == "posix" else ""
    except OSError:
        return ""


def _of_another_device() -> OtherDevice:
    return OtherDevice("the seat that lies here was borrowed by another device: borrow one on this device, or connect")


def _told(wall: float) -> str:
    return local_time(datetime.fromtimestamp(wall, UTC))

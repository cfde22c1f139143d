"""A cloud server of real parts: sold to on disk, asked over HTTP, stopped and started again."""

import os
import queue
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from seatkeeper.protocol.envelopes import read_public_key
from seatkeeper.protocol.trust import Expected, Trust
from seatkeeper_server.apps.cloud import build, start_line
from seatkeeper_server.domain.catalogue import Sale
from seatkeeper_server.keys import SealKey, SealKeyError
from seatkeeper_server.service.selling import sell
from seatkeeper_server.service.timekeeping import ClockState
from seatkeeper_server.settings import Settings
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.locking import DirectoryInUse
from seatkeeper_server.store.sqlite import SqliteStore
from seatkeeper_server.store.vault import KeyVault
from tests.server_http.running import PATIENCE, running

NONCE = "n" * 24
SERVE = "from seatkeeper_server.apps.cloud import serve; from seatkeeper_server.settings import Settings; serve(Settings())"

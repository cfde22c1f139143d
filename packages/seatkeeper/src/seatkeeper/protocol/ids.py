"""Identifiers: a type prefix and 22 URL-safe characters (128 bits).

The prefixes are those of the public contract we are compatible with, plus our own for what it lacks.

>>> make_id("act_", bytes(16))
'act_AAAAAAAAAAAAAAAAAAAAAA'
"""

from base64 import urlsafe_b64encode

TENANT = "t_"
PRODUCT = "prod_"
EDITION = "ed_"
PLAN = "plan_"
OFFERING = "off_"
FEATURE = "feat_"
CUSTOMER = "cust_"
GROUP = "egr_"
ENTITLEMENT = "ent_"
ACTIVATION = "act_"
DATABASE = "db_"
TICKET = "tick_"

RANDOM_BYTES = 16


def make_id(prefix: str, randomness: bytes) -> str:
    """Give the id made of a prefix and 16 random bytes."""
    return prefix + b64url(randomness)


def b64url(data: bytes) -> str:
    """Encode as base64url without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")

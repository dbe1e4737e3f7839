"""A part of what is known of a call: the gateway tells it in several records, in any order (docs/architecture.md)."""

from typing import Literal, NamedTuple

from models.call import Call

HalfKind = Literal["policy", "gateway_log", "llm_log"]
HALF_KINDS: tuple[HalfKind, ...] = ("policy", "gateway_log", "llm_log")
"""Who tells it: a policy's event, the gateway's log, its log of model calls. The first knows best who called."""


class Half(NamedTuple):
    """What one record says of the call `call.request_id`. `call` is that call as it is if nothing else becomes known.

    `waits` is True where it is to be counted only when another half has come, or a deadline has passed.
    """

    kind: HalfKind
    call: Call
    waits: bool

    @property
    def of_any_day(self) -> bool:
        """True for a whole call of which only the delivery says when it was: sent again, it may name another day."""
        return self.kind == "policy" and not self.waits and self.call.dated_by_delivery

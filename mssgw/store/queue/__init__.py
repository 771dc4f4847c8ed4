"""The outbound queue: durable, leased, per recipient.

One `Delivery` is one message to one next hop with its recipients of that domain. A worker claims deliveries
that are due; the claim is a lease with a fencing token. What it then records counts only while nobody else
has claimed the delivery since: otherwise LeaseLost, and nothing is written. A dead worker's deliveries are
due again when the lease ends. Every recipient reaches exactly one final state, with the peer's last reply
and an audit row in the same transaction. Changes ring "queue".
"""

from mssgw.store.queue.claims import add, bring_back, claim, count, is_far, next_due, record, release, renew, tell_delay
from mssgw.store.queue.model import Counts, Delivery, DeliveryId, LeaseLost, NewQueued, Outcome, Queued, RecipientState, State
from mssgw.store.queue.office import drop, get, hold, list_all, purge, retry, show, unhold

__all__ = [
    "Counts",
    "Delivery",
    "DeliveryId",
    "LeaseLost",
    "NewQueued",
    "Outcome",
    "Queued",
    "RecipientState",
    "State",
    "add",
    "bring_back",
    "claim",
    "count",
    "drop",
    "get",
    "hold",
    "is_far",
    "list_all",
    "next_due",
    "purge",
    "record",
    "release",
    "renew",
    "retry",
    "show",
    "tell_delay",
    "unhold",
]

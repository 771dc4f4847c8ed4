"""Enhanced security services, read (RFC 2634): receiptRequest and mlExpansionHistory, and what follows from both.

Names that are mail addresses are used; names of any other kind are only counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from mssgw.core.address import Address, AddressError
from mssgw.pki import der
from mssgw.smime.errors import Reason, SmimeError

MAX_TO: Final = 16  # RFC 2634 A: ub-receiptsTo
MAX_NAMES: Final = 64
MAX_LISTS: Final = 64  # ub-ml-expansion-history
MAX_IDENTIFIER: Final = 1024  # octets

Names = tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class ReceiptRequest:
    """RFC 2634 2.7. `wanted_from` is "all", "first-tier" or the recipients who are asked; `to` is who gets the receipts."""

    identifier: bytes  # signedContentIdentifier: the receipt repeats it
    wanted_from: Literal["all", "first-tier"] | Names
    to: Names
    others: int = 0  # names in it that are no mail addresses

    def to_json(self) -> dict[str, Any]:
        wanted = self.wanted_from if isinstance(self.wanted_from, str) else [str(one) for one in self.wanted_from]
        return {"identifier": self.identifier.hex(), "from": wanted, "to": [str(one) for one in self.to]}


@dataclass(frozen=True, slots=True)
class ListPolicy:
    """The policy of the last mail list of mlExpansionHistory for receipts (RFC 2634 4.4). `policy` "": none."""

    policy: Literal["", "none", "instead-of", "in-addition-to"] = ""
    names: Names = ()


def read_request(value: bytes) -> ReceiptRequest:
    """The value of a receiptRequest attribute. Raises SmimeError: it is signed, so a wrong one came from the signer."""
    try:
        return _request(value)
    except der.DerError as error:
        raise SmimeError(Reason.ATTRIBUTES, f"receipt request: {error}") from error


def _request(value: bytes) -> ReceiptRequest:
    identifier, wanted, to = der.inside(value, der.whole(value), der.SEQUENCE, 3, 3)
    name = der.octet_content(value, identifier)
    if not 1 <= len(name) <= MAX_IDENTIFIER:
        raise der.DerError("content identifier")
    receivers, others = _names(value, to, der.SEQUENCE, MAX_TO)
    if not receivers and not others:
        raise der.DerError("nobody to send the receipt to")
    if wanted[0] == 0x80:
        number = value[wanted[2] : wanted[3]]
        if number not in (b"\0", b"\1"):
            raise der.DerError("receiptsFrom")
        return ReceiptRequest(name, "first-tier" if number == b"\1" else "all", receivers, others)
    asked, more = _names(value, wanted, 0xA1, MAX_NAMES)
    return ReceiptRequest(name, asked, receivers, others + more)


def read_history(value: bytes) -> ListPolicy:
    """The policy of the last list in an mlExpansionHistory attribute (RFC 2634 4.4). Raises SmimeError."""
    try:
        return _history(value)
    except der.DerError as error:
        raise SmimeError(Reason.ATTRIBUTES, f"mail list history: {error}") from error


def _history(value: bytes) -> ListPolicy:
    last = der.inside(value, der.whole(value), der.SEQUENCE, MAX_LISTS, 1)[-1]
    fields = der.inside(value, last, der.SEQUENCE, 3, 2)
    if fields[1][0] != der.GENERALIZED_TIME:
        raise der.DerError("expansion time")
    if len(fields) == 2:
        return ListPolicy()
    policy = fields[2]
    if policy[0] == 0x80 and policy[2] == policy[3]:
        return ListPolicy("none")
    if policy[0] not in (0xA1, 0xA2):
        raise der.DerError("receipt policy")
    return ListPolicy("instead-of" if policy[0] == 0xA1 else "in-addition-to", _names(value, policy, policy[0], MAX_NAMES)[0])


def receivers(request: ReceiptRequest, history: ListPolicy | None, recipient: Address) -> Names:
    """Who should get a signed receipt from this recipient, in RFC 2634 2.3's order of questions; nobody is ().

    `history` is of the outermost signature, None when it has none.
    """
    if history and history.policy == "none":
        return ()
    if request.wanted_from == "first-tier" and history:
        return ()
    if not isinstance(request.wanted_from, str) and recipient.key not in {one.key for one in request.wanted_from}:
        return ()
    if history and history.policy == "instead-of":
        return history.names
    if history and history.policy == "in-addition-to":
        return tuple(dict.fromkeys(request.to + history.names))
    return request.to


def _names(value: bytes, element: der.Tlv, tag: int, most: int) -> tuple[Names, int]:
    """(mail addresses, how many other names) in a SEQUENCE OF GeneralNames."""
    found: list[Address] = []
    others = 0
    for group in der.inside(value, element, tag, most):
        for name in der.inside(value, group, der.SEQUENCE, MAX_NAMES, 1):
            try:
                if name[0] != 0x81:
                    raise AddressError("address.no-at")
                found.append(Address.parse(value[name[2] : name[3]].decode("ascii")))
            except (AddressError, UnicodeDecodeError):
                others += 1
    return tuple(dict.fromkeys(found)), others

"""A message that was opened and judged becomes what mailboxes hold: findings on top, one copy for each way of showing them."""

from __future__ import annotations

from collections.abc import Sequence

from mssgw.core.address import Address
from mssgw.flow.delivery import Box, Copy
from mssgw.flow.head import Head, on_top, replace
from mssgw.flow.house import House
from mssgw.flow.shown import Show, with_banner
from mssgw.protocol import mime
from mssgw.protocol.mime import MimeLimits
from mssgw.smime.opening import Opened

_OURS = ("authentication-results", "return-path")  # only we may say those about this message here


def readable_copies(
    house: House,
    opened: Opened,
    boxes: Sequence[Box],
    sender: Address | None,
    proved: str,
    limits: MimeLimits,
    fields: Sequence[tuple[str, str]] = (),
) -> dict[Show, Copy]:
    """What goes into the boxes, by the way their domains show a verdict.

    `proved` is what the connection proved, a result of Authentication-Results; `fields` stand above the message's own. Blocks:
    for large messages call it in a thread.
    """
    hostname, language = house.config.node.hostname, house.config.node.language
    results = f"{opened.verdict.results(hostname)};\r\n {proved}"
    head = Head.read(opened.readable, limits)
    headers = on_top(head.headers.without(_OURS).prepend(*fields), sender, results)
    plain = replace(opened.readable, head, headers, house.spool)
    copies: dict[Show, Copy] = {}
    for show in house.local.wanted(boxes):
        if show == "banner" and opened.verdict.protected:
            shown = with_banner(plain, Head.read(plain, limits), opened.verdict, language, house.spool)
        else:
            shown = plain
        copies[show] = Copy(shown, mime.summarise(shown, limits))
    return copies

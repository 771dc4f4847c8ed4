"""How a patient can be reached: an e-mail address and telephone numbers as a person types them."""

from __future__ import annotations

import re

from dmp_connector.errors import BadInput
from dmp_connector.texts import message

# RFC 5321 4.1.2 without quoted strings, literals and source routes: what a patient's address looks like.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_EMAIL = re.compile(rf"{_ATOM}(\.{_ATOM})*@([A-Za-z0-9]([A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?\.)+[A-Za-z]{{2,63}}")
_PHONE = re.compile(r"\+?[0-9](?:[ .()/-]{0,2}[0-9]){5,16}")


def require_contacts(*, email: str = "", mobile: str = "", phone: str = "") -> None:
    """Raise BadInput naming what is not an address or a number; "" is nothing typed."""
    if email and (len(email) > 254 or not _EMAIL.fullmatch(email)):
        raise BadInput(message("dossier.e-mail-address-does-not"))
    for key, number in (("dossier.bad-mobile", mobile), ("dossier.bad-phone", phone)):
        if number and not _PHONE.fullmatch(number.strip()):
            raise BadInput(message(key))

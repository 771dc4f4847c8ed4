"""How a patient can be reached: an e-mail address and telephone numbers as a person types them."""

from __future__ import annotations

import re

from dmp_connector.errors import BadInput

# RFC 5321 4.1.2 without quoted strings, literals and source routes: what a patient's address looks like.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_EMAIL = re.compile(rf"{_ATOM}(\.{_ATOM})*@([A-Za-z0-9]([A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?\.)+[A-Za-z]{{2,63}}")
_PHONE = re.compile(r"\+?[0-9](?:[ .()/-]{0,2}[0-9]){5,16}")


def require_contacts(*, email: str = "", mobile: str = "", phone: str = "") -> None:
    """Raise BadInput naming what is not an address or a number; "" is nothing typed."""
    if email and (len(email) > 254 or not _EMAIL.fullmatch(email)):
        raise BadInput(
            "the e-mail address does not have the form name@domain.tld", fr="l'adresse de courriel n'a pas la forme nom@domaine.fr"
        )
    for name, fr, number in (("mobile number", "numéro de mobile", mobile), ("telephone number", "numéro de téléphone", phone)):
        if number and not _PHONE.fullmatch(number.strip()):
            raise BadInput(f"the {name} is not 6 to 17 digits", fr=f"le {fr} ne compte pas de 6 à 17 chiffres")

"""A key in a token or card, used by a verb itself: opened, asked once, and closed again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from mssgw.cli.frame import failure, say
from mssgw.cli.prompts import hidden
from mssgw.cli.usage import WrongUse
from mssgw.core.config.smime import Smime
from mssgw.core.errors import Mistake
from mssgw.core.texts import message
from mssgw.core.tokens import TokenReference
from mssgw.smime.errors import KeyUnavailable, SmimeError
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.keys.key import Identity
from mssgw.smime.places import key_in, place_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class InToken:
    """Where a key is, and the PIN when somebody typed it."""

    reference: str
    settings: Smime
    pin: str | None = field(repr=False)

    @classmethod
    def asked(cls, reference: str, settings: Smime, *, pin_stdin: bool) -> InToken:
        """Asks for the PIN that no file has. Raises WrongUse, ConfigError: no module is known."""
        try:
            parsed = TokenReference.parse(reference)
        except Mistake as error:
            raise WrongUse(message("at", place=reference, what=error.message), "--token") from error
        place_of(parsed, settings)
        return cls(reference, settings, asked_pin(parsed.name, pin_stdin=pin_stdin) if parsed.pin is None else None)

    def use(self, own: Certificate, act: Callable[[Identity], T]) -> T:
        """`act` with the key of this certificate, by one try of the PIN. Blocks. Raises failure: the token or its key does not answer."""
        reference = TokenReference.parse(self.reference)
        key = key_in(reference, own, self.settings)
        try:
            if self.pin is not None:
                key.token.unlock(self.pin)
            return act(Identity(own, key))
        except (KeyUnavailable, SmimeError) as error:
            raise failure(say("identity.token-failed", token=reference.name), fault="token", detail=error.detail) from error
        finally:
            key.token.close()


def asked_pin(token: str, *, pin_stdin: bool) -> str:
    """Never an argument: others could read it."""
    return sys.stdin.readline().rstrip("\r\n") if pin_stdin else hidden(say("identity.ask-pin", token=token), "--pin-stdin")

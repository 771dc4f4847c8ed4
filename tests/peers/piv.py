"""A PIV card (NIST SP 800-73-4) in memory: what a program by others asks of a card that signs, and nothing it does not ask.

Two keys, PIV authentication (9A) and digital signature (9C), each with its certificate, made by the test. As on the real card the
PIN opens 9A until the power goes, and 9C for one operation alone (part 1, table 4: "PIN always"). Three wrong PINs block it.

    card = PivCard(pin="482913", keys={Slot.SIGNATURE: (key, certificate)})
    with VirtualCard(card, port=reader.port): …
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Mapping
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding

from dmp_connector.card.simulated import atr

AID: Final = bytes.fromhex("A000000308000010000100")  # part 1, 2.2
DONE, SECURITY, BLOCKED, NOT_FOUND = b"\x90\x00", b"\x69\x82", b"\x69\x83", b"\x6a\x82"
WRONG_DATA, WRONG_P1P2, UNKNOWN = b"\x6a\x80", b"\x6a\x86", b"\x6d\x00"
TRIES: Final = 3

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class Slot(enum.IntEnum):
    """Key references (SP 800-73-4 part 1, table 4) and the object that holds each key's certificate (table 3)."""

    AUTHENTICATION = 0x9A
    SIGNATURE = 0x9C

    @property
    def container(self) -> bytes:
        return bytes.fromhex({Slot.AUTHENTICATION: "5FC105", Slot.SIGNATURE: "5FC10A"}[self])


def tlv(tag: int, value: bytes) -> bytes:
    """BER-TLV, tag of one or two octets."""
    name = tag.to_bytes(1 if tag < 0x100 else 2, "big")
    size = len(value)
    length = bytes((size,)) if size < 0x80 else b"\x81" + bytes((size,)) if size < 0x100 else b"\x82" + size.to_bytes(2, "big")
    return name + length + value


def fields(data: bytes) -> dict[int, bytes]:
    """The elements of a template, tags of one octet. Raises IndexError, ValueError."""
    found, at = {}, 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size > 0x80:
            size, at = int.from_bytes(data[at : at + size - 0x80], "big"), at + size - 0x80
        if at + size > len(data):
            raise ValueError("cut off")
        found[tag], at = data[at : at + size], at + size
    return found


class PivCard:
    """One card. `before_signing` is called when the card is about to sign: a test pulls it there."""

    atr = atr(b"MSSGW-PIV")

    def __init__(self, pin: str, keys: Mapping[Slot, tuple[Private, x509.Certificate]]) -> None:
        self.pin, self.tries = pin, TRIES
        self.verified: list[str] = []  # every PIN that was tried, right or wrong
        self.signed = 0
        self.before_signing: Callable[[], None] = lambda: None
        self._keys = {slot: key for slot, (key, _) in keys.items()}
        self._objects = self._contents({slot: certificate for slot, (_, certificate) in keys.items()})
        self.power()

    @staticmethod
    def _contents(certificates: Mapping[Slot, x509.Certificate]) -> dict[bytes, bytes]:
        """Data objects by tag (part 1, appendix A). The CHUID's number is the card's own: OpenSC shows it as the serial number."""
        number = hashlib.sha256(b"".join(one.public_bytes(Encoding.DER) for one in certificates.values())).digest()
        agency = bytes.fromhex("D4E739DA739CED39CE739D836858210842108421384210C3F5")  # FASC-N of a card that is no federal one
        chuid = tlv(0x30, agency) + tlv(0x34, number[:16]) + tlv(0x35, b"20991231") + tlv(0x3E, b"") + tlv(0xFE, b"")
        ccc = tlv(0xF0, bytes.fromhex("A000000116FF02") + number[:14]) + tlv(0xF1, b"\x21") + tlv(0xF2, b"\x21") + tlv(0xF3, b"")
        ccc += tlv(0xF4, b"\x00") + tlv(0xF5, b"\x10") + b"".join(tlv(tag, b"") for tag in (*range(0xF6, 0xFE), 0xFE))
        found = {
            bytes.fromhex("5FC102"): tlv(0x53, chuid),
            bytes.fromhex("5FC107"): tlv(0x53, ccc),
            b"\x7e": tlv(0x7E, tlv(0x4F, AID) + tlv(0x5F2F, b"\x40\x00")),  # discovery: the application PIN alone
        }
        for slot, certificate in certificates.items():
            held = tlv(0x70, certificate.public_bytes(Encoding.DER)) + tlv(0x71, b"\x00") + tlv(0xFE, b"")
            found[slot.container] = tlv(0x53, held)
        return found

    # --- the card's edge

    def power(self) -> None:
        """Off, on or reset: everything that was proved is forgotten."""
        self._selected = self._open = self._fresh = False
        self._chained = self._waiting = b""

    def answer(self, apdu: bytes) -> bytes:
        """One command of ISO 7816-4, short lengths; chained commands, and long answers in pieces (GET RESPONSE)."""
        if len(apdu) < 4:
            return b"\x67\x00"
        chain, instruction = apdu[0], apdu[1]
        data, expected = _parts(apdu[4:])
        if instruction == 0xC0:
            return self._piece(self._waiting, expected or 256)
        if chain == 0x10:
            self._chained += data
            return DONE
        data, self._chained = self._chained + data, b""
        found = self._command(instruction, apdu[2] << 8 | apdu[3], data)
        return found if len(found) == 2 else self._piece(found[:-2], expected or 256)

    def _piece(self, data: bytes, most: int) -> bytes:
        self._waiting = data[most:]
        return data[:most] + (b"\x61" + bytes((min(len(self._waiting), 255),)) if self._waiting else DONE)

    def _command(self, instruction: int, parameters: int, data: bytes) -> bytes:
        if instruction == 0xA4:
            self._selected = bool(data) and AID.startswith(data[: len(AID)])
            identity = tlv(0x4F, AID[5:]) + tlv(0x79, tlv(0x4F, AID[:5]))
            return tlv(0x61, identity) + DONE if self._selected else NOT_FOUND
        if not self._selected:
            return UNKNOWN
        match instruction:
            case 0xCB:
                return self._get(data) if parameters == 0x3FFF else WRONG_P1P2
            case 0x20:
                return self._verify(parameters, data)
            case 0x87:
                return self._authenticate(parameters >> 8, parameters & 0xFF, data)
            case _:
                return UNKNOWN

    def _get(self, data: bytes) -> bytes:
        found = self._objects.get(data[2:]) if data[:1] == b"\x5c" else None
        return found + DONE if found else NOT_FOUND

    def _verify(self, parameters: int, data: bytes) -> bytes:
        """Part 2, 3.2.1: with a PIN, without one (how many tries are left), or P1 = FF (forget it)."""
        if parameters == 0xFF80:
            self._open = self._fresh = False
            return DONE
        if parameters != 0x0080:
            return b"\x6a\x88"
        if not data:
            return DONE if self._open else BLOCKED if not self.tries else bytes((0x63, 0xC0 | self.tries))
        if not self.tries:
            return BLOCKED
        self.verified.append(data.rstrip(b"\xff").decode("ascii", "replace"))
        self._open = self._fresh = data == self.pin.encode().ljust(8, b"\xff")
        self.tries = TRIES if self._open else self.tries - 1
        return DONE if self._open else bytes((0x63, 0xC0 | self.tries)) if self.tries else BLOCKED

    def _authenticate(self, algorithm: int, reference: int, data: bytes) -> bytes:
        """Part 2, 3.2.4 and A.4: 7C { 82 (empty), 81 what is to be signed }; RSA gets the padded block, a curve the hash."""
        fresh, self._fresh = self._fresh, False
        key = self._keys.get(reference)  # type: ignore[call-overload]
        if key is None:
            return WRONG_P1P2
        if not (fresh if reference == Slot.SIGNATURE else self._open):
            return SECURITY
        try:
            challenge = fields(fields(data)[0x7C])[0x81]
            self.before_signing()
            signature = _signature(algorithm, key, challenge)
        except (KeyError, IndexError, ValueError):
            return WRONG_DATA
        self.signed += 1
        return tlv(0x7C, tlv(0x82, signature)) + DONE


def _parts(rest: bytes) -> tuple[bytes, int]:
    """(data, expected length) behind the header of a short command."""
    if not rest:
        return b"", 0
    if len(rest) == 1:
        return b"", rest[0]
    size = rest[0]
    return rest[1 : 1 + size], rest[1 + size] if len(rest) > 1 + size else 0


def _signature(algorithm: int, key: Private, challenge: bytes) -> bytes:
    """Algorithm 07 is RSA 2048, 11 is P-256 (SP 800-78-4, table 6-2). Raises ValueError."""
    if algorithm == 0x07 and isinstance(key, rsa.RSAPrivateKey) and len(challenge) == 256:
        numbers = key.private_numbers()
        return pow(int.from_bytes(challenge, "big"), numbers.d, numbers.public_numbers.n).to_bytes(256, "big")
    if algorithm == 0x11 and isinstance(key, ec.EllipticCurvePrivateKey) and len(challenge) == 32:
        return key.sign(challenge, ec.ECDSA(Prehashed(hashes.SHA256())))
    raise ValueError("algorithm")

"""Pkcs11Key: a key in a token (HSM, card, SoftHSM), behind one worker process per token.

    mail -> Pkcs11Key -> Token (lock, circuit breaker) -> pipe -> token_worker -> PKCS#11 module

A crash, a removal or a silence of the module kills the worker and nothing else. The operation that met it
raises KeyUnavailable, a 451: the message waits, it is never sent unsigned. For a short while, longer each
time, every other operation fails at once (the circuit is open); then one of them starts a new worker,
which finds the token again or not. A PIN that was wrong is not tried again until the file it is kept in
has changed (docs/reference/crypto.md 5, 9.33). A person's own token is unlocked for a session (`Token.unlock`); when it is
pulled the session is over, and mail waits until it is back and unlocked again. Every signature is verified before it is
used, which costs little beside a token and catches a wrong object as well as a faulty one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from mssgw.observe import Event, log
from mssgw.pki import der
from mssgw.smime.errors import KeyUnavailable, Lock, Reason, SmimeError, TokenLocked, Undecryptable
from mssgw.smime.keys import token_worker
from mssgw.smime.keys.certificates import Certificate
from mssgw.smime.keys.key import Source
from mssgw.smime.keys.token_worker import receive, send
from mssgw.smime.wire.algorithms import Digest, Oaep, Signature, SignatureKind, identifier, pss_padding

PATIENCE: Final = 10.0  # seconds for one operation; cards take one
STARTING: Final = 25.0  # seconds to read a card and to log in
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds the circuit stays open


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """Where a token is: the module's file, the token's label, the file its PIN stands in, and its serial number where labels repeat.

    Without such a file it is somebody's own, a card: the PIN is given by `unlock`, is good for one session, and stands in no file.
    """

    module: Path
    label: str
    pin: Source | None
    serial: str | None = None

    @property
    def name(self) -> str:
        """For people: cards of one kind may all have one label."""
        return f"{self.label} {self.serial}" if self.serial else self.label


class Sessions(Protocol):
    """What the sessions of one person's token have in common, in whatever process they are."""

    def ended(self, lock: Lock) -> None:
        """One of them has ended by itself. Called once for it."""

    @property
    def pin_refused(self) -> bool:
        """The token refused their PIN to one of them. The others must not offer it again: the token counts."""


class Token:
    """One token and its worker. All methods block; one operation at a time."""

    def __init__(self, place: TokenPlace, *, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic) -> None:
        self.place = place
        self._patience, self._clock = patience, clock
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None
        self._failures = 0
        self._closed_at = 0.0  # when the circuit closes again
        self._refused_pin: tuple[int, int, int] | None = None  # the file a wrong PIN was read from
        self._pin_tried: tuple[int, int, int] | None = None
        self._sessions: Sessions | None = None

    @cached_property
    def executor(self) -> Executor:
        """Threads that may wait for this token without keeping others from theirs."""
        return ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0)), thread_name_prefix=f"token-{self.place.name}")

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker, while there is one."""
        return self._worker.pid if self._worker else None

    def ask(self, request: dict[str, Any]) -> bytes:
        """One operation. Raises KeyUnavailable; Undecryptable when the token refuses the input, SmimeError when it can't do that."""
        with self._lock:
            if self._worker is None:
                self._start()
            if self._sessions is not None and self._sessions.pin_refused:  # keys of cards want it at each use
                raise self._failed("refused to another session", Lock.PIN)
            reply = self._exchange(request)
            if "data" in reply:
                self._failures = 0
                data: bytes = reply["data"]
                return data
            if reply["refused"] == "data":
                raise Undecryptable
            if reply["refused"] == "mechanism":  # decided by the input alone, so the error reveals nothing
                raise SmimeError(Reason.UNSUPPORTED, f"{request['verb']} {reply['text']}, which token {self.place.name} can't do")
            if reply["refused"] == "object":
                raise KeyUnavailable(detail=f"token {self.place.name}: {reply['text']}")
            raise self._refused(reply)

    def require_session(self) -> None:
        """Somebody gave the PIN, and the token is still there. No PIN is tried. Raises KeyUnavailable."""
        self.ask({"verb": "session"})

    def unlock(self, pin: str, sessions: Sessions | None = None) -> None:
        """Log in for one session, which ends with the token's removal. One try. Raises KeyUnavailable.

        Whoever asks knows that there is no session (`require_session`): one that is there ends first.
        """
        with self._lock:
            self._stop()
            self._closed_at, self._failures = 0.0, 0
            self._start(pin)
            self._sessions = sessions

    @property
    def locked(self) -> bool:
        """Whether a person has to give the PIN first."""
        return self.place.pin is None and self._worker is None

    def close(self) -> None:
        with self._lock:
            self._stop()

    # --- the worker

    def _start(self, session_pin: str | None = None) -> None:
        if self.place.pin is None and session_pin is None:
            raise TokenLocked(self.place.name)
        if self._clock() < self._closed_at:
            raise KeyUnavailable(detail=f"token {self.place.name} does not answer; next try later")
        pin = self._pin_state()
        if pin is not None and pin == self._refused_pin:
            raise KeyUnavailable(detail=f"token {self.place.name} refused its PIN; it is not tried again until {self.place.pin} changes")
        try:
            self._worker = subprocess.Popen(  # noqa: S603 - our own file
                [sys.executable, "-P", token_worker.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )  # a Ctrl-C for the node must not take the token from mail in progress
        except OSError as error:
            raise self._failed(f"worker: {error.strerror}") from error
        hello = {"module": str(self.place.module), "token": self.place.label, "serial": self.place.serial}
        hello |= {"typed": session_pin or ""} if self.place.pin is None else {"pin": str(_path(self.place.pin))}
        self._pin_tried = pin
        reply = self._exchange(hello, STARTING)
        if "ready" not in reply:
            raise self._refused(reply)
        log(Event.SMIME_TOKEN_READY, token=self.place.name)
        if self.place.pin is None:
            threading.Thread(target=self._await_end, args=(self._worker,), name=f"card-{self.place.name}", daemon=True).start()

    def _await_end(self, worker: subprocess.Popen[bytes]) -> None:
        """A card that is pulled while no mail needs it: told now, not with the next mail."""
        worker.wait()
        with self._lock:
            if self._worker is worker:
                self._failed("pulled")

    def _refused(self, reply: dict[str, Any]) -> KeyUnavailable:
        lock = Lock(reply["refused"]) if reply["refused"] in set(Lock) else Lock.GONE
        if lock in (Lock.PIN, Lock.LAST_TRY, Lock.BLOCKED):
            self._refused_pin = self._pin_tried
        return self._failed(reply["text"], lock)

    def _exchange(self, request: dict[str, Any], patience: float | None = None) -> dict[str, Any]:
        """Send one frame, wait for one. Raises KeyUnavailable when the worker dies or is silent."""
        worker = self._worker
        assert worker is not None
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            send(worker.stdin, request)
            patience = max(self._patience, patience or 0)
            ready, _, _ = select.select([worker.stdout], [], [], patience)
            if not ready:
                raise self._failed(f"silent for {patience:.0f} s")
            reply: dict[str, Any] = receive(worker.stdout)
            return reply
        except (OSError, EOFError) as error:
            raise self._failed("worker died") from error

    def _failed(self, why: str, lock: Lock = Lock.GONE) -> KeyUnavailable:
        """Stop the worker, open the circuit; to be raised."""
        self._stop()
        pause = min(FIRST_PAUSE * 2**self._failures, LONGEST_PAUSE)
        self._failures += 1
        self._closed_at = self._clock() + pause
        log(Event.SMIME_TOKEN_GONE, "error", token=self.place.name, reason=f"{lock}, {why}", pause=pause)
        if self.place.pin is None:
            sessions, self._sessions = self._sessions, None
            if sessions is not None:
                sessions.ended(lock)
            return TokenLocked(self.place.name, lock, why)
        return KeyUnavailable(detail=f"token {self.place.name}: {lock}, {why}")

    def _stop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        if self.place.pin is None:
            log(Event.SMIME_TOKEN_LOCKED, token=self.place.name)
        worker.kill()
        worker.wait()
        for pipe in (worker.stdin, worker.stdout):
            if pipe:
                with contextlib.suppress(OSError):  # nobody reads what was not flushed
                    pipe.close()

    def _pin_state(self) -> tuple[int, int, int] | None:
        if self.place.pin is None:
            return None
        try:
            facts = _path(self.place.pin).stat()
        except OSError:
            return None
        return facts.st_ino, facts.st_mtime_ns, facts.st_size


def _path(secret: Source) -> Path:
    try:
        return secret.path
    except FileNotFoundError as error:
        raise KeyUnavailable(detail=str(error)) from error


class Pkcs11Key:
    """One private key in a token, named by label, identifier or both; its certificate decides what it may do."""

    def __init__(self, token: Token, certificate: Certificate, *, label: str | None = None, identifier: bytes | None = None) -> None:
        if label is None and identifier is None:
            raise ValueError("a key in a token is named by its label or its identifier")
        self.token, self._certificate = token, certificate
        self._name = {"label": label, "id": identifier}

    oaep = False  # cards can't do it, SoftHSM only with SHA-1: our capabilities don't list it, and what comes is tried

    @property
    def executor(self) -> Executor | None:
        return self.token.executor

    def _ask(self, verb: str, data: bytes, **more: Any) -> bytes:
        try:
            return self.token.ask({**self._name, "verb": verb, "data": data, **more})
        except TokenLocked as error:
            raise error.of(self._certificate.holder) from error

    def sign(self, data: bytes, scheme: Signature) -> bytes:
        public, digest = self._certificate.public_key, hashlib.new(scheme.digest.name, data).digest()
        hashed = Prehashed(scheme.digest.hash)
        try:
            if scheme.kind is SignatureKind.RSA_V15 and isinstance(public, rsa.RSAPublicKey):
                signature = self._ask("rsa-v1.5", _digest_info(scheme.digest, digest))
                public.verify(signature, digest, padding.PKCS1v15(), hashed)
            elif scheme.kind is SignatureKind.RSA_PSS and isinstance(public, rsa.RSAPublicKey):
                signature = self._ask("rsa-pss", digest, hash=scheme.digest.name, salt=scheme.salt or len(digest))
                public.verify(signature, digest, pss_padding(scheme.digest, scheme.salt), hashed)
            elif scheme.kind is SignatureKind.ECDSA and isinstance(public, ec.EllipticCurvePublicKey):
                raw = self._ask("ecdsa", digest)
                half = len(raw) // 2
                signature = encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
                public.verify(signature, digest, ec.ECDSA(hashed))
            else:
                raise KeyUnavailable(detail=f"token {self.token.place.name} can't sign {scheme.name}")
        except (InvalidSignature, ValueError) as error:
            raise KeyUnavailable(detail=f"token {self.token.place.name}: its signature does not fit the certificate") from error
        return signature

    def decrypt(self, wrapped: bytes, oaep: Oaep | None) -> bytes:
        if oaep is None:
            return self._ask("unwrap-v1.5", wrapped)
        return self._ask("unwrap-oaep", wrapped, hash=oaep.digest.name, mask=oaep.mask.name)

    def agree(self, peer: Any) -> bytes:
        mine = self._certificate.public_key
        if not isinstance(peer, ec.EllipticCurvePublicKey) or not isinstance(mine, ec.EllipticCurvePublicKey):
            raise Undecryptable
        point = peer.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        return self._ask("agree", point, size=(mine.key_size + 7) // 8)

    def decapsulate(self, ciphertext: bytes) -> bytes:
        raise Undecryptable


def _digest_info(digest: Digest, value: bytes) -> bytes:
    """DigestInfo (RFC 8017 9.2): the token only does the RSA, so that old modules and cards will do."""
    return der.sequence(identifier(digest.oid, der.NULL), der.octets(value))

"""Changes files at random, so that most of them stay nearly what they were."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

STRANGE = [
    None, True, False, 0, 1, -1, 2, 255, 2**31, 2**53, 2**63, 10**40, -(10**40), 0.5,
    -0.0, 1e300, math.nan, math.inf, -math.inf, "", "x", "1", "../..", "/dev/zero",
    "~nobody-here/x", "a\0b", "\ud800", "n" * 5000, [], {}, [[]], [None], [1, "a"],
    {"a": None}, {"": []}, {"type": "x"},
]  # fmt: skip
TOKENS = [
    b"\0", b"\n", b"\r", b'"', b"'", b",", b";", b"\t", b"{", b"}", b"[", b"]", b":",
    b"=", b".", b"-", b"nan", b"1e999", b"inf", b"null", b"\xff", b"\xef\xbb\xbf",
    b"\xed\xa0\x80", b"9" * 30, b"9" * 5000, b"[" * 3000, b'{"a":' * 300, b"-1",
    b"a" * 200_000, b"~nobody-here/x", b"#", b"\\u0000", b"\x1c", b"\xe2\x80\xa8",
]  # fmt: skip
NUMBERS = [0, 1, 2, 7, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1]


def changed_bytes(rng: Random, data: bytes) -> bytes:
    """A file with some bytes changed, moved, lost or added."""
    found = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        at = rng.randrange(len(found) + 1) if found else 0
        how = rng.randrange(7)
        if how == 0 and found:
            found[min(at, len(found) - 1)] ^= 1 << rng.randrange(8)
        elif how == 1:
            found[at : at + 1] = bytes([rng.randrange(256)])
        elif how == 2:
            size = rng.choice([1, 2, 4, 8])
            number = rng.choice(NUMBERS) & ((1 << 8 * size) - 1)
            found[at : at + size] = number.to_bytes(size, rng.choice(["little", "big"]))
        elif how == 3:
            del found[at:]
        elif how == 4:
            del found[at : at + rng.randrange(1, 64)]
        elif how == 5:
            start = rng.randrange(len(found) + 1)
            found[at:at] = found[start : start + rng.randrange(1, 256)]
        else:
            found[at:at] = rng.choice(TOKENS)
    return bytes(found)


def changed_text(rng: Random, data: bytes) -> bytes:
    """A text in which words and numbers, too, are others."""
    if rng.random() < 0.4:
        return changed_bytes(rng, data)
    places = list(re.finditer(rb"[\w.+-]+", data))
    if not places:
        return changed_bytes(rng, data)
    place = rng.choice(places)
    other = rng.choice([*TOKENS, rng.choice(places)[0], b"", b"0", b"2147483648"])
    return data[: place.start()] + other + data[place.end() :]


def changed_json(rng: Random, data: bytes) -> bytes:
    """A JSON text with other values, or other bytes."""
    if rng.random() < 0.2:
        return changed_text(rng, data)
    return json.dumps(changed_value(rng, json.loads(data))).encode()


def changed_value(rng: Random, value: object) -> object:
    """Plain data in which some values are others, are gone, or are nested deeply."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        value = _changed_once(rng, value)
    return value


def _changed_once(rng: Random, value: object) -> object:
    inside = isinstance(value, dict | list) and value and rng.random() < 0.85
    if not inside:
        return rng.choice([*STRANGE, _deep(rng)])
    if isinstance(value, dict):
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {k: item for k, item in value.items() if k != key}
        return {**value, key: _changed_once(rng, value[key])}
    at = rng.randrange(len(value))
    how = rng.randrange(10)
    if how == 0:
        return value[:at] + value[at + 1 :]
    if how == 1:
        return value[: at + 1] * rng.choice([2, 50])
    return [*value[:at], _changed_once(rng, value[at]), *value[at + 1 :]]


def _deep(rng: Random) -> object:
    found: object = 1
    for _ in range(rng.choice([30, 70, 400])):
        found = [found] if rng.random() < 0.5 else {"a": found}
    return found

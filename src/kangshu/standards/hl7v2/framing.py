"""MLLP frames in a stream of bytes, without any input or output: VT, the message, FS, CR."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

START = b"\x0b"
END = b"\x1c"
RETURN = b"\r"

DEFAULT_FRAME_BYTES = 16 * 1024 * 1024
_HEAD_BYTES = 4096
_NEXT_MARK = re.compile(rb"\x1c(?=[\r\n\x0b])|\x0b+").search


class FrameFaultKind(StrEnum):
    """What is wrong in the stream."""

    STRAY = "stray"  # bytes between frames
    CUT_OFF = "cut-off"  # a frame without an end: a new one begins, or the stream ends
    TOO_LONG = "too-long"  # a frame over the limit; its rest is passed over
    EMPTY = "empty"  # nothing between start and end


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameFault:
    """Something in the stream that is no frame."""

    kind: FrameFaultKind
    size: int
    """Bytes that were passed over; for a frame that is too long, those until it was."""
    head: bytes = b""
    """The beginning of a frame that is too long, so that it can be refused by its control id."""


class FrameReader:
    """Decodes frames from chunks; any cut into chunks gives the same frames and faults in the same order.

    A frame ends with FS and CR. FS before VT or LF ends it as well; before anything else it belongs to the
    content, so that a message is never taken for complete where it is not. A peer that sends no CR at all
    leaves the reader `undecided`: after a pause, `flush` gives the frame.
    """

    def __init__(self, *, limit: int = DEFAULT_FRAME_BYTES) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._at = 0  # where the frame, or what is between frames, begins in the buffer
        self._seen = 0  # up to where there is no mark
        self._within = False
        self._skipping = False  # the rest of a frame that is too long
        self._stray = 0

    @property
    def held(self) -> int:
        """Bytes kept until a frame is whole."""
        return len(self._buffer)

    @property
    def within(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._within

    @property
    def stray(self) -> int:
        """Bytes since the last frame that belong to none."""
        return self._stray

    @property
    def undecided(self) -> bool:
        """Whether the last byte is FS, which ends a frame only if the next byte says so."""
        return self._within and self._buffer[-1:] == END

    def feed(self, data: bytes) -> list[bytes | FrameFault]:
        """Take the next bytes of the stream; return what became complete."""
        found: list[bytes | FrameFault] = []
        self._buffer += data
        while self._inside(found) if self._within else self._between(found):
            pass
        del self._buffer[: self._at]
        self._seen -= self._at
        self._at = 0
        return found

    def flush(self) -> list[bytes | FrameFault]:
        """Return the frame that lacks only the CR after its FS; call it when the peer has paused."""
        found: list[bytes | FrameFault] = []
        if self.undecided:
            self._finish(found, len(self._buffer) - 1)
            self._buffer.clear()
            self._at = self._seen = 0
        return found

    def close(self) -> list[bytes | FrameFault]:
        """Return what is left when the stream ends; the reader is empty afterwards."""
        found = self.flush()
        if self._within and not self._skipping:
            found.append(FrameFault(kind=FrameFaultKind.CUT_OFF, size=len(self._buffer)))
        self._report_stray(found)
        self._buffer.clear()
        self._within = self._skipping = False
        self._at = self._seen = 0
        return found

    def _between(self, found: list[bytes | FrameFault]) -> bool:
        """Go to the next start; tell whether there is one."""
        buffer = self._buffer
        start = buffer.find(START, self._at)
        end = len(buffer) if start < 0 else start
        ends = buffer.count(b"\r", self._at, end) + buffer.count(b"\n", self._at, end)
        self._stray += end - self._at - ends
        if start < 0:
            self._at = self._seen = end
            return False
        self._report_stray(found)
        self._begin(start + 1)
        return True

    def _inside(self, found: list[bytes | FrameFault]) -> bool:
        """Go to the end of the frame, or to a start that cuts it off; tell whether there is one."""
        buffer = self._buffer
        mark = _NEXT_MARK(buffer, self._seen)
        # An FS at the very end is a mark only if the next byte says so.
        known = len(buffer) - (buffer[-1:] == END) if mark is None else mark.start()
        if not self._skipping and known - self._at > self._limit:
            head = bytes(buffer[self._at : self._at + min(_HEAD_BYTES, self._limit)])
            found.append(FrameFault(kind=FrameFaultKind.TOO_LONG, size=self._limit + 1, head=head))
            self._skipping = True
        if mark is None:
            self._seen = known
            if self._skipping:
                self._at = known
            return False
        if buffer[known : known + 1] == END:
            self._finish(found, known)
            self._at = known + 1
            return True
        if known > self._at and not self._skipping:
            found.append(FrameFault(kind=FrameFaultKind.CUT_OFF, size=known - self._at))
        self._begin(mark.end())
        return True

    def _begin(self, at: int) -> None:
        self._within = True
        self._skipping = False
        self._at = self._seen = at

    def _finish(self, found: list[bytes | FrameFault], end: int) -> None:
        if not self._skipping:
            frame = bytes(self._buffer[self._at : end])
            found.append(frame if frame else FrameFault(kind=FrameFaultKind.EMPTY, size=0))
        self._within = self._skipping = False

    def _report_stray(self, found: list[bytes | FrameFault]) -> None:
        if self._stray:
            found.append(FrameFault(kind=FrameFaultKind.STRAY, size=self._stray))
            self._stray = 0


def serialise_frame(data: bytes) -> bytes:
    """Return `data` as one frame.

    Raises:
        ValueError: `data` holds a mark that would end the frame early or begin another.
    """
    if START in data or END in data:
        raise ValueError("the content of a frame holds neither VT nor FS")
    return START + data + END + RETURN

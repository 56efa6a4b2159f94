"""A decoder for files whose bytes are still arriving."""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from ddpmcodec import api, decoder, picture
from ddpmcodec.arguments import content
from ddpmcodec.chain import State
from ddpmcodec.denoiser import Denoiser
from ddpmcodec.errors import DdpmcodecError, TruncatedFileError
from ddpmcodec.format.container import END, Container
from ddpmcodec.format.steptable import Step
from ddpmcodec.models.model import Model


class Decoder:
    """A decoder of one file, which is fed in pieces of any size. Its pictures are x0hat, and exact at the end of a lossless file.

    Args:
        model, max_pixels, device, precision, backend: as `ddpmcodec.decode`.

    Attributes:
        complete: whether the end of the file has been fed.
    """

    def __init__(
        self,
        *,
        model: str | Path | Model | None = None,
        max_pixels: int | None = None,
        device: str = "auto",
        precision: str = "auto",
        backend: str = "auto",
    ):
        self.complete = False
        self._model = model, device, precision, backend
        self._max_pixels = max_pixels
        self._data = bytearray()
        self._parsed: Container | None = None
        self._denoiser: Denoiser | None = None
        self._states: Iterator[State] | None = None
        self._last: State | None = None
        self._needed = 1  # bytes: with fewer, parsing again can find nothing new
        self._error: DdpmcodecError | None = None

    def feed(self, data: bytes) -> Iterator[tuple[int, Image.Image]]:
        """Take more bytes; return (step, picture) for each step that is whole with them, 0 for the start; of several pictures, the first.

        A lossless file's last step comes once more, exact, when its tail is whole. Pictures that the iterator is not asked for are not
        decoded.

        Raises:
            FormatError and its kinds, ModelError, LimitError: see `ddpmcodec.errors`. A stream that has failed fails again.
        """
        self._data += content(data)
        return self._pictures()

    def _pictures(self) -> Iterator[tuple[int, Image.Image]]:
        """Yield as `_decoded`; once it has failed, fail again."""
        if self._error is not None:
            raise self._error
        try:
            yield from self._decoded()
        except DdpmcodecError as e:
            self._error = e
            raise

    def _decoded(self) -> Iterator[tuple[int, Image.Image]]:
        """Yield (step, picture) for each step that is whole and has not been yielded."""
        if self._is_news(self._parsed):
            before = self._parsed
            try:
                parsed = self._parsed = api.open_file(bytes(self._data), max_pixels=self._max_pixels)
            except TruncatedFileError as e:
                self._needed = e.needed
                return  # not even the step table yet
            self.complete = parsed.complete
            if self._states is None:
                self._denoiser = api.denoiser_of(parsed, *self._model)
                self._states = decoder.states(parsed, self._denoiser, self._receive)
            exact_now = before is not None and before.tail is None and parsed.tail is not None
            if exact_now and self._last is not None and self._last.index == len(parsed.steps):
                yield self._last.index, self._picture(self._last)
            while self._last is None or self._last.index < len(parsed.messages):
                self._last = next(self._states)
                yield self._last.index, self._picture(self._last)

    def _is_news(self, parsed: Container | None) -> bool:
        """Whether parsing again can find anything new."""
        if parsed is not None and (whole := len(parsed.messages)) < len(parsed.steps):
            return len(self._data) >= parsed.ends[whole]
        if parsed is None:
            return len(self._data) >= self._needed
        return self.complete or self._data.endswith(END)

    def _receive(self, state: State) -> tuple[Step, bytes] | None:
        """Return the next step and its message (`chain.Peer`)."""
        assert self._parsed is not None
        return self._parsed.steps[state.index], self._parsed.messages[state.index]

    def _picture(self, state: State) -> Image.Image:
        """Return the first picture at a state."""
        assert self._parsed is not None and self._denoiser is not None
        if decoder.has_exact(self._parsed, state) and self._denoiser.precision != "fp32":
            # The tail alone shows that the file is lossless: decode it again in fp32, as lossless files are.
            state = decoder.last_state(self._parsed, api.denoiser_of(self._parsed, *self._model))
        return picture.to_images(decoder.pixels(self._parsed, state), self._parsed)[0]

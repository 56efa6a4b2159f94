"""The errors that this package raises on purpose. Each class has its own exit code on the command line."""


def printable(text: str) -> str:
    """Return text that does nothing to a terminal: characters that are not printable, such as a file's escape sequences, are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class DdpmcodecError(Exception):
    """Base of all typed errors. Its text is one line that says what is wrong.

    Attributes:
        parameter: the name of the parameter whose value to change, if one can help.
    """

    exit_code = 1

    def __init__(self, text: str = "", *, parameter: str | None = None):
        super().__init__(printable(text))
        self.parameter = parameter


class InputError(DdpmcodecError):
    """The input cannot be read: missing, a directory, or not permitted."""

    exit_code = 3


class PictureError(DdpmcodecError):
    """The input is not a picture that can be coded: empty, damaged, or of an unsupported kind."""

    exit_code = 4


class FormatError(DdpmcodecError):
    """The data cannot be decoded as a .ddpm file: the base of the next four classes."""


class ForeignFileError(FormatError):
    """The data does not begin with the .ddpm signature."""

    exit_code = 5


class UnsupportedVersionError(FormatError):
    """The file has a format version, or a critical section, that this package does not know."""

    exit_code = 6


class TruncatedFileError(FormatError):
    """The data ends before the first step could be decoded. (A file cut later is legal and decodes to its last whole step.)

    Attributes:
        needed: bytes that there have to be before parsing again can find more.
    """

    exit_code = 7

    def __init__(self, text: str = "", needed: int = 0, *, parameter: str | None = None):
        super().__init__(text, parameter=parameter)
        self.needed = needed


class CorruptFileError(FormatError):
    """A checksum fails, or a field contradicts the rest of the file."""

    exit_code = 8


class ModelError(DdpmcodecError):
    """A model cannot be found, cannot be read, or is not the one the file was made with."""

    exit_code = 9


class LimitError(DdpmcodecError):
    """The picture or the work is larger than the limit in force."""

    exit_code = 10


class RateError(DdpmcodecError):
    """The requested size cannot be met."""

    exit_code = 11


class OutputError(DdpmcodecError):
    """The output cannot be written."""

    exit_code = 12


class EvaluationError(DdpmcodecError):
    """A codec to compare with is missing here, or fails on a picture."""

    exit_code = 13


class ConfigurationError(DdpmcodecError):
    """A training configuration cannot be used: it is not there, not TOML, or a field is missing, unknown or out of its range."""

    exit_code = 14


class TrainingError(DdpmcodecError):
    """Training has failed: its loss is no longer a number."""

    exit_code = 15


class PeerError(TrainingError):
    """Another of the processes that train together has gone."""


class DriftError(DdpmcodecError):
    """A lossless file cannot be recovered here: the arithmetic differs from the encoder's by more than the file allows for."""

    exit_code = 16


class WorkerError(DdpmcodecError):
    """A worker process has died, or a cluster cannot be reached."""

    exit_code = 17

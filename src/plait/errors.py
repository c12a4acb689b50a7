"""What bad input gets: one clear line naming the file, the field and the value that was expected."""


class PlaitError(Exception):
    """Input that plait refuses; the message is one line, meant for a person."""


class ConfigError(PlaitError):
    """A study file or setting that does not say what it must."""


class DataError(PlaitError):
    """A data file or folder that is missing, damaged or of another kind."""


class ShapeError(PlaitError, ValueError):
    """A tensor or a grid whose shape does not fit where it is used."""

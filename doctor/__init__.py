"""doctor: reads what a training run leaves behind and says what went wrong."""

__version__ = "0.1.0"

"""Everything that doctor refuses. Caught once, in cli, and printed as one line."""


class DoctorError(Exception):
    """What is wrong, where, and what to do about it, in one line."""


class SignatureError(DoctorError):
    """A signature file that doctor can't use."""


class LogError(DoctorError):
    """A log that can't be found or read."""


class CheckpointError(DoctorError):
    """A checkpoint that can't be read or written."""


class ConfigError(DoctorError):
    """A configuration that can't be read."""

from hydra.errors import CompactHydraException


class SweepError(CompactHydraException):
    """What a person must change; Hydra prints it as one line, without a trace."""

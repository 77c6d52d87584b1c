"""The one error of this package."""


class StepError(ValueError):
    """A step, a domain or an anchor that is refused; the message is one clear sentence."""

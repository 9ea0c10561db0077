"""Bad input; the message says how to fix it."""


class UserError(ValueError):
    """Bad input: the message is one sentence that names the file or setting and the remedy."""

"""The one error that is the user's to mend."""


class UserError(ValueError):
    """Bad input: the message is one sentence that names the file or setting and the remedy."""

"""Bad input; the message says how to fix it."""


class UserError(ValueError):
    """Bad input: the message is one sentence that names the file or setting and the remedy."""


def first_line(error: BaseException) -> str:
    """What an error of foreign code says, on one line: its type, and the first line of its message.

    >>> first_line(ValueError("no such axis\\nin line 3"))
    'ValueError: no such axis'
    """
    lines = str(error).strip().splitlines()
    name = type(error).__name__
    return f"{name}: {lines[0][:200]}" if lines else name

"""Names in pictures."""


def literal(name: str) -> str:
    """A name as matplotlib draws it letter by letter: its dollars would begin a formula."""
    return name.replace("$", r"\$")

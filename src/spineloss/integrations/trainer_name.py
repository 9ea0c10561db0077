"""The name of an nnU-Net trainer that says what it trains with: `nnUNetTrainer~tversky+cross_entropy@cov`.

nnU-Net knows a trainer by its name alone: on the command line, in worker processes, and as the folder of results.
So the loss and the weighting are in the name, written such that a folder of any operating system can have it.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from spineloss.errors import UserError

MARK = "~"  # between nnU-Net's trainer and the loss
WEIGHTED_BY = "@"  # between the loss and the weighting
BASE = "nnUNetTrainer"
LONGEST = 200  # characters; folders may have 255, and plans and configuration follow
PLAIN = "()+=,."
OUTSIDE_QUOTES = r'(?=(?:[^"]*"[^"]*")*[^"]*$)'
SPACE = re.compile(r"\s+" + OUTSIDE_QUOTES)
TIMES = re.compile(r"(?<=[\d.])\*(?=[A-Za-z_])" + OUTSIDE_QUOTES)
WRITTEN_TIMES = re.compile(r"(?:^|(?<=\+))((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)x(?=[A-Za-z_])" + OUTSIDE_QUOTES)


@dataclass(frozen=True)
class TrainerName:
    """What a trainer's name says.

    Args:
        loss: its text, or `nnunet`, nnU-Net's own.
        weighting: its text, or none.
        base: the trainer of nnU-Net that everything but the loss comes from.

    >>> print(TrainerName("0.8*dice + 0.2*boundary", "rebalance(end=0.5)"))
    nnUNetTrainer~0.8xdice+0.2xboundary@rebalance(end=0.5)
    >>> TrainerName.read("nnUNetTrainer_250epochs~0.8xdice+0.2xboundary")
    TrainerName(loss='0.8*dice+0.2*boundary', weighting=None, base='nnUNetTrainer_250epochs')
    """

    loss: str
    weighting: str | None = None
    base: str = BASE

    @classmethod
    def read(cls, name: str) -> "TrainerName":
        """What a name says; the texts themselves may still be wrong.

        Raises:
            UserError: it has no trainer or no loss.
        """
        base, _, rest = name.partition(MARK)
        loss, _, weighting = rest.partition(WEIGHTED_BY)
        if not base or not loss:
            raise UserError(
                f"The trainer {name!r} is not understood: write nnU-Net's trainer, {MARK} and a loss, "
                f"such as {BASE}{MARK}tversky+cross_entropy."
            )
        return cls(_decoded(loss), _decoded(weighting) or None, base)

    def __str__(self) -> str:
        name = self.base + MARK + _encoded(self.loss)
        if self.weighting:
            name += WEIGHTED_BY + _encoded(self.weighting)
        if len(name) > LONGEST:
            raise UserError(
                f"The loss {self.loss!r} makes a trainer's name of {len(name)} characters; {LONGEST} is the most: "
                "write it as a class of your own, and name that."
            )
        return name


def _encoded(text: str) -> str:
    short = TIMES.sub("x", SPACE.sub("", text))
    # nnU-Net splits a folder's name at two underscores.
    return quote(short, safe=PLAIN).replace(MARK, "%7E").replace("__", "_%5F")


def _decoded(name: str) -> str:
    return WRITTEN_TIMES.sub(r"\1*", unquote(SPACE.sub("", name)))

"""The sums over the voxels that a loss may ask for beside those that are always made."""

from typing import Literal, NamedTuple, get_args

Kind = Literal["entropy", "foreground", "background", "deviation", "missed", "box_cox", "entropy_power", "uniform"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # in the order of the enumeration in c/columns.h


class Column(NamedTuple):
    """A sum over the voxels of each sample and class, of a kind and with an exponent g.

    P is the prediction, Y the target, and c the cross-entropy of the voxel: sigmoid -Y log P - (1 - Y) log(1 - P),
    softmax -log P.

    entropy         sigmoid: (1 - exp(-c))^g c; softmax: Y (1 - P)^g c
    foreground      -Y (1 - P)^g log P
    background      sigmoid: -(1 - Y) P^g log(1 - P); softmax, where the background is a class: as foreground
    deviation       |P - Y|^g, g at least 1
    missed          max(Y - P, 0)^g, g at least 1
    box_cox         sigmoid: (1 - exp(-g c)) / g; softmax: Y (1 - P^g) / g
    entropy_power   sigmoid: c^g; softmax: Y c^g
    uniform         the cross-entropy, were the target uniform; sigmoid: -(log P + log(1 - P)) / 2;
                    softmax of C classes: -log P / C
    """

    kind: Kind
    exponent: float = 0.0

    def under(self, activation: str) -> "Column":
        """The one that it is the same as."""
        halves = activation == "softmax" and self.kind in ("foreground", "background")
        return Column("entropy", self.exponent) if halves else self


CROSS_ENTROPY = Column("entropy")

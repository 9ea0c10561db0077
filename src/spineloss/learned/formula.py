"""A loss that is a formula of prediction and target: a typed tree, protected inside its operators."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import torch

from spineloss.errors import UserError
from spineloss.grammar import Formula, shortened
from spineloss.losses import Loss
from spineloss.losses.inputs import Inputs

TINY = 1e-6  # what a logarithm, a root, a power and a quotient keep away from zero
BOUND = 1e6  # largest size of a number, a product, a quotient or a power
STEEPEST = 4.0  # exponent of a power; the least is 0

MAPS = ("p", "y")


@dataclass(frozen=True)
class Notation:
    """How a node is written: the template, how strongly the result binds, how strongly its arguments must.

    1 is a sum, 2 a product, 3 a power, 4 a name or something in brackets.
    """

    template: str
    binds: int
    wants: tuple[int, ...]


@dataclass(frozen=True)
class Operator:
    """What a node computes, voxel by voxel or from means, and how it is written."""

    compute: Callable[..., torch.Tensor]
    text: Notation
    latex: Notation

    @property
    def arity(self) -> int:
        """How many arguments it takes."""
        return len(self.text.wants)


def _bounded(values: torch.Tensor) -> torch.Tensor:
    return values.clamp(-BOUND, BOUND)


def _multiply(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return _bounded(first * second)


def _divide(above: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    return _bounded(above / torch.where(below.abs() < TINY, TINY, below))


def _power(base: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    return _bounded((base.abs() + TINY) ** exponent.clamp(0, STEEPEST))


def _square(values: torch.Tensor) -> torch.Tensor:
    return _bounded(values**2)


def _root(values: torch.Tensor) -> torch.Tensor:
    return (values.abs() + TINY).sqrt()


def _log(values: torch.Tensor) -> torch.Tensor:
    return (values.abs() + TINY).log()


def _complement(values: torch.Tensor) -> torch.Tensor:
    return 1 - values


def _same(compute: Callable[..., torch.Tensor], template: str, binds: int, *wants: int) -> Operator:
    return Operator(compute, Notation(template, binds, wants), Notation(template, binds, wants))


# The mean over a sample's voxels is the only way from a map to a scalar: a sum is the mean times the volume,
# and would make the loss depend on its size.
MEAN = "mean"
OPERATORS: dict[str, Operator] = {
    "add": _same(torch.add, "{} + {}", 1, 1, 1),
    "subtract": _same(torch.sub, "{} - {}", 1, 1, 2),
    "multiply": Operator(_multiply, Notation("{} * {}", 2, (2, 2)), Notation(r"{} \, {}", 2, (2, 2))),
    "divide": Operator(_divide, Notation("{} / {}", 2, (2, 3)), Notation(r"\frac{{{}}}{{{}}}", 2, (0, 0))),
    "power": Operator(_power, Notation("{}^{}", 3, (4, 4)), Notation("{}^{{{}}}", 3, (4, 0))),
    "square": _same(_square, "{}^2", 3, 4),
    "root": Operator(_root, Notation("sqrt({})", 4, (0,)), Notation(r"\sqrt{{{}}}", 4, (0,))),
    "log": Operator(_log, Notation("log({})", 4, (0,)), Notation(r"\ln\left({}\right)", 4, (0,))),
    "absolute": Operator(torch.abs, Notation("|{}|", 4, (0,)), Notation(r"\left|{}\right|", 4, (0,))),
    "complement": _same(_complement, "1 - {}", 1, 2),
    "negate": _same(torch.neg, "-{}", 1, 2),
    MEAN: Operator(lambda values: values, Notation("mean({})", 4, (0,)), Notation(r"\overline{{{}}}", 4, (0,))),
}


class Evolved(Loss):
    """A formula of each voxel's probability p and target y, and of their means over a sample's voxels.

    It is averaged over samples and channels, so it depends on no neighbour in the batch. Names are those of
    `OPERATORS`, `p`, `y` and numbers. Every operator is protected: log, root and power see |x| + 1e-6, a divisor
    is at least 1e-6 in size, products, quotients and powers are at most 1e6, exponents from 0 to 4. So a finite
    prediction has a finite value.

    Args:
        formula: a scalar: its maps are averaged by `mean`.

    Raises:
        UserError: the formula names what is not known, has too many arguments or too few, lacks p, or is a map.

    References:
        Gonzalez and Miikkulainen, Improved training speed, accuracy, and data utilization through loss function
        optimization, CEC 2020.

    >>> from spineloss.text import parse
    >>> dice = parse("evolved(complement(divide(multiply(2, mean(multiply(p, y))), add(mean(p), mean(y)))))")
    >>> dice.text
    '1 - 2 * mean(p * y) / (mean(p) + mean(y))'
    """

    name = "evolved"

    formula: Formula

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_mistakes(self.formula)

    def values(self, inputs: Inputs) -> torch.Tensor:
        known = {Formula("p"): inputs.probabilities.flatten(2), Formula("y"): inputs.truth.flatten(2)}
        return _value(self.formula, known, inputs).squeeze(2)

    @property
    def text(self) -> str:
        """The formula as it is written by hand; `str` of the loss is the text to parse."""
        return _written(self.formula, lambda operator: operator.text)[0]

    @property
    def latex(self) -> str:
        """The formula in LaTeX; a bar is the mean over a sample's voxels."""
        return _written(self.formula, lambda operator: operator.latex, r"\left({}\right)")[0]

    def settings(self) -> Mapping[str, float | str]:
        return {"formula": str(self.formula)}

    def __str__(self) -> str:
        return f"{self.name}({self.formula})"


def is_map(formula: Formula) -> bool:
    """Whether the formula has a value for each voxel."""
    if formula.head == MEAN:
        return False
    return formula.head in MAPS or any(is_map(argument) for argument in formula.arguments)


def _refuse_mistakes(formula: Formula) -> None:
    for node in formula.nodes():
        known = [*OPERATORS, *MAPS]
        if isinstance(node.head, str) and node.head not in known:
            near = get_close_matches(node.head, known, n=1, cutoff=0.0)[0]
            raise UserError(f"evolved: there is no {node.head!r} in formulas; the nearest known one is {near!r}.")
        if isinstance(node.head, float | int) and abs(node.head) > BOUND:
            raise UserError(f"evolved: the number {node.head} is beyond {BOUND:g}, the largest of a formula.")
        wanted = OPERATORS[node.head].arity if node.head in OPERATORS else 0
        if len(node.arguments) != wanted:
            found = f"{len(node.arguments)} of {shortened(str(node))}"
            raise UserError(f"evolved: {node.head} takes {wanted} argument(s), not the {found}.")
    written = shortened(str(formula))
    if Formula("p") not in formula.nodes():
        raise UserError(
            f"evolved: {written} does not depend on the prediction p, so nothing can be learned from it."
        )
    if is_map(formula):
        raise UserError(f"evolved: {written} is no formula with one value per sample: write it as mean(...).")


def _value(formula: Formula, known: dict[Formula, torch.Tensor], inputs: Inputs) -> torch.Tensor:
    """(N, C, voxels) of a map, (N, C, 1) of a scalar; what comes again is computed once."""
    if formula not in known:
        if isinstance(formula.head, str):
            values = [_value(argument, known, inputs) for argument in formula.arguments]
            mean = formula.head == MEAN and is_map(formula.arguments[0])
            known[formula] = _mean(values[0], inputs) if mean else OPERATORS[formula.head].compute(*values)
        else:
            known[formula] = known[Formula("y")].new_full((*inputs.logits.shape[:2], 1), formula.head)
    return known[formula]


def _mean(values: torch.Tensor, inputs: Inputs) -> torch.Tensor:
    return inputs.mean(values.reshape(inputs.logits.shape))[..., None]


def _written(
    formula: Formula, notation: Callable[[Operator], Notation], brackets: str = "({})"
) -> tuple[str, int]:
    """The formula as written, and how strongly it binds."""
    if formula.head not in OPERATORS:
        negative = isinstance(formula.head, float | int) and formula.head < 0
        return str(formula.head), 1 if negative else 4
    chosen = notation(OPERATORS[formula.head])
    parts = []
    for argument, wanted in zip(formula.arguments, chosen.wants, strict=True):
        text, binds = _written(argument, notation, brackets)
        parts.append(text if binds >= wanted else brackets.format(text))
    return chosen.template.format(*parts), chosen.binds

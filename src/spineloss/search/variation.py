"""How formulas come from others: weighted random trees, tournament, crossover and mutation.

Genetic programming on typed trees: a subtree is only ever replaced by one of its own kind. Every draw is a
function of its key, so a search is the same on any number of processes and after any stop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from random import Random

from spineloss.grammar import Formula
from spineloss.learned.formula import MAPS, MEAN, OPERATORS, is_map
from spineloss.seeding import seed_of

# Probabilities of occurrence, up to a factor, wherever a node's kind allows it.
WEIGHTS = {
    "add": 3.0, "subtract": 3.0, "multiply": 4.0, "divide": 3.0, "power": 0.5, "square": 1.0, "root": 0.5,
    "log": 2.0, "absolute": 1.0, "complement": 3.0, "negate": 2.0, MEAN: 20.0, "p": 5.0, "y": 5.0, "constant": 2.0,
}  # fmt: skip
DEPTHS = 2, 6  # levels below the root of a random tree: its leaves lie between, numbers may be higher
SUBTREE_DEPTHS = 0, 3  # of one that replaces another
TOURNAMENT = 4  # formulas that compete by fitness
PARSIMONY = 0.7  # probability that of two winners the shorter one is a parent
SPREAD = 0.3  # of a constant's logarithm when it mutates


class Kind(Enum):
    """What a node is: a value for each voxel, a value for a sample made of its maps, or a number."""

    MAP = "map"
    MEASURE = "measure"
    CONSTANT = "constant"


ANY = frozenset(Kind)
MAP, MEASURE, CONSTANT = (frozenset({kind}) for kind in Kind)
# By arity: the kind of the result, and what each argument may be. Operators have no numbers alone as arguments, so
# that no tree is spent on sums of numbers.
MADE_OF: dict[int, tuple[tuple[Kind, tuple[frozenset[Kind], ...]], ...]] = {
    1: ((Kind.MAP, (MAP,)), (Kind.MEASURE, (MEASURE,))),
    2: (
        (Kind.MAP, (MAP, ANY)),
        (Kind.MAP, (ANY, MAP)),
        (Kind.MEASURE, (MEASURE, MEASURE)),
        (Kind.MEASURE, (MEASURE, CONSTANT)),
        (Kind.MEASURE, (CONSTANT, MEASURE)),
    ),
}


@dataclass(frozen=True)
class Node:
    """A node that a tree may be grown with: its name, its kind, and what each of its arguments may be."""

    name: str
    kind: Kind
    arguments: tuple[frozenset[Kind], ...] = ()


INNER = [
    Node(name, kind, arguments)
    for name, operator in OPERATORS.items()
    for kind, arguments in ([(Kind.MEASURE, (MAP,))] if name == MEAN else MADE_OF[operator.arity])
]
LEAVES = [*(Node(name, Kind.MAP) for name in MAPS), Node("constant", Kind.CONSTANT)]


@dataclass(frozen=True)
class Scored:
    """A formula and what it is worth: more is better."""

    formula: Formula
    fitness: float


def random_formula(*key: int | str) -> Formula:
    """A weighted random formula with one value per sample."""
    return _grown(Random(seed_of(*key)), MEASURE, *DEPTHS)


def child(parents: Sequence[Scored], *key: int | str) -> Formula:
    """A formula made of one or two of the parents, which win tournaments; now and then a fresh one."""
    random = Random(seed_of(*key))
    (vary,) = random.choices(list(VARIATIONS), VARIATIONS.values())
    return vary(random, parents)


def _crossover(random: Random, parents: Sequence[Scored]) -> Formula:
    """One parent, with a subtree of the other in place of one of its own of the same kind; the roots stay."""
    first, second = (_winner(random, parents) for _ in range(2))
    places, donors = _places_by_kind(first), _places_by_kind(second)
    kinds = [kind for kind in Kind if kind in places and kind in donors]
    if not kinds:
        return first
    kind = random.choice(kinds)
    place, donor = random.choice(places[kind]), random.choice(donors[kind])
    return _replaced(first, place, list(second.nodes())[donor])


def _subtree_mutation(random: Random, parents: Sequence[Scored]) -> Formula:
    """A parent with a random subtree in place of one of its own."""
    formula = _winner(random, parents)
    nodes = list(formula.nodes())
    place = random.randrange(len(nodes))
    return _replaced(formula, place, _grown(random, frozenset({kind_of(nodes[place])}), *SUBTREE_DEPTHS))


def _node_mutation(random: Random, parents: Sequence[Scored]) -> Formula:
    """A parent with one node below its root replaced, and what is below that node kept."""
    formula = _winner(random, parents)
    nodes = list(formula.nodes())
    place = random.randrange(1, len(nodes))
    return _replaced(formula, place, _alike(random, nodes[place]))


def _alike(random: Random, node: Formula) -> Formula:
    """A node of the same kind and arity; a mean, the only way from a map to a measure, stays."""
    if not node.arguments:
        kind = kind_of(node)
        return _leaf(random, random.choice([leaf for leaf in LEAVES if leaf.kind == kind]))
    if node.head == MEAN:
        return node
    arity = len(node.arguments)
    names = [name for name, operator in OPERATORS.items() if name != MEAN and operator.arity == arity]
    return replace(node, head=random.choice(names))


def _constant_mutation(random: Random, parents: Sequence[Scored]) -> Formula:
    """A parent with each of its numbers moved by a log-normal factor."""

    def moved(formula: Formula) -> Formula:
        if kind_of(formula) is Kind.CONSTANT:
            return Formula(float(f"{formula.head * random.lognormvariate(0, SPREAD):.3g}"))
        return replace(formula, arguments=tuple(map(moved, formula.arguments)))

    return moved(_winner(random, parents))


def _fresh(random: Random, parents: Sequence[Scored]) -> Formula:
    return _grown(random, MEASURE, *DEPTHS)


VARIATIONS: dict[Callable[[Random, Sequence[Scored]], Formula], float] = {
    _crossover: 0.4,
    _subtree_mutation: 0.2,
    _node_mutation: 0.15,
    _constant_mutation: 0.15,
    _fresh: 0.1,
}


def _winner(random: Random, parents: Sequence[Scored]) -> Formula:
    """Of the winners of two tournaments by fitness, more often the shorter one.

    References:
        Luke and Panait, Fighting bloat with nonparametric parsimony pressure, PPSN 2002.
    """
    first, second = (
        max(random.choices(parents, k=TOURNAMENT), key=lambda scored: scored.fitness).formula for _ in range(2)
    )
    shorter, longer = sorted((first, second), key=_size)
    equal = _size(shorter) == _size(longer)
    return shorter if random.random() < (0.5 if equal else PARSIMONY) else longer


def kind_of(formula: Formula) -> Kind:
    """What a formula is as a part of another.

    >>> kind_of(Formula("p")), kind_of(Formula("mean", (Formula("p"),))), kind_of(Formula(0.5))
    (<Kind.MAP: 'map'>, <Kind.MEASURE: 'measure'>, <Kind.CONSTANT: 'constant'>)
    """
    if not isinstance(formula.head, str):
        return Kind.CONSTANT
    return Kind.MAP if is_map(formula) else Kind.MEASURE


def _size(formula: Formula) -> int:
    return sum(1 for _ in formula.nodes())


def _places_by_kind(formula: Formula) -> dict[Kind, list[int]]:
    """Where the nodes below the root are, as numbers in the order of `nodes`."""
    found: dict[Kind, list[int]] = {}
    for place, node in enumerate(formula.nodes()):
        if place:
            found.setdefault(kind_of(node), []).append(place)
    return found


def _replaced(formula: Formula, place: int, part: Formula) -> Formula:
    """The formula with another part at a place in the order of `nodes`."""
    if place == 0:
        return part
    arguments, start = [], 1
    for argument in formula.arguments:
        inside = place - start
        arguments.append(_replaced(argument, inside, part) if 0 <= inside < _size(argument) else argument)
        start += _size(argument)
    return replace(formula, arguments=tuple(arguments))


def _grown(random: Random, kinds: frozenset[Kind], least: int, most: int, depth: int = 0) -> Formula:
    """A weighted random tree, each leaf between two depths, a number perhaps above."""
    choices = _choices(kinds, depth, least, most)
    (node,) = random.choices(choices, [WEIGHTS[choice.name] for choice in choices])
    if not node.arguments:
        return _leaf(random, node)
    return Formula(node.name, tuple(_grown(random, each, least, most, depth + 1) for each in node.arguments))


def _choices(kinds: frozenset[Kind], depth: int, least: int, most: int) -> list[Node]:
    leaves = [node for node in LEAVES if node.kind in kinds]
    if depth >= most:
        return leaves
    # A measure is no leaf: near the bottom it can only be the mean of a map.
    inner = [
        node
        for node in INNER
        if node.kind in kinds and (depth + 1 < most or all(each != MEASURE for each in node.arguments))
    ]
    return inner if inner and depth < least else [*inner, *leaves]


def _leaf(random: Random, node: Node) -> Formula:
    return Formula(round(random.uniform(0, 2), 2) if node.kind is Kind.CONSTANT else node.name)

"""The fingerprint of a data set, by which a study is planned: sizes, spacings, intensities, labels, patients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from spineloss.data import volumes
from spineloss.data.check import Report, Row
from spineloss.data.preprocessing import Grid
from spineloss.data.resolution import Spacing


@dataclass(frozen=True)
class Share:
    """A label: the cases that hold it, and its median share of the voxels in those."""

    label: int
    cases: int
    share: float


@dataclass(frozen=True)
class Fingerprint:
    """What planning looks at, one entry per case, all turned to the orientation that a study would use.

    Args:
        layout: of the folder, in words.
        orientation: three letters; see `volumes.slices_first`.
        shapes: (Z, Y, X) voxels.
        spacings: (z, y, x) mm.
        intensities: lowest and highest.
        labels: in order.
        patients: how many there are.
    """

    layout: str
    orientation: str
    shapes: tuple[Grid, ...]
    spacings: tuple[Spacing, ...]
    intensities: tuple[tuple[float, float], ...]
    labels: tuple[Share, ...]
    patients: int

    @property
    def cases(self) -> int:
        """How many there are."""
        return len(self.shapes)


def fingerprint(report: Report, groups: Mapping[str, str]) -> Fingerprint:
    """The fingerprint of the readable cases.

    Args:
        report: of `check`, with a case at least.
        groups: of `group_cases`.
    """
    rows = report.rows
    to = volumes.slices_first([(row.spacing, row.orientation) for row in rows])
    return Fingerprint(
        report.layout,
        to,
        tuple(volumes.turned(row.shape, row.orientation, to) for row in rows),
        tuple(volumes.turned(row.spacing, row.orientation, to) for row in rows),
        tuple((row.low, row.high) for row in rows),
        tuple(_share(label, rows) for label in sorted({label for row in rows for label in row.voxels})),
        len({groups[row.case] for row in rows}),
    )


def _share(label: int, rows: Sequence[Row]) -> Share:
    shares = [
        row.voxels[label] / (row.shape[0] * row.shape[1] * row.shape[2]) for row in rows if label in row.voxels
    ]
    return Share(label, len(shares), median(shares))

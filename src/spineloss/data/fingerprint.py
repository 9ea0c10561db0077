"""The fingerprint of a data set, by which a study is planned: sizes, spacings, intensities, labels, patients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from spineloss.data import volumes
from spineloss.data.cases import Layout
from spineloss.data.check import Report, Row
from spineloss.data.preprocessing import Grid
from spineloss.data.resolution import Spacing


@dataclass(frozen=True)
class Share:
    """A label and its name, the cases that hold it, and its median share of the voxels in those."""

    label: int
    name: str
    cases: int
    share: float


@dataclass(frozen=True)
class Fingerprint:
    """What planning looks at, one entry per case, all turned to the orientation that a study would use.

    Args:
        layout: of the folder, in words.
        channels: of each image.
        orientation: three letters; see `volumes.slices_first`.
        shapes: (Z, Y, X) voxels.
        spacings: (z, y, x) mm.
        intensities: lowest and highest.
        labels: in order, without the ignored one.
        regions: of several labels, by name.
        ignored: the label of what nobody annotated, if there is one.
        patients: how many there are.
    """

    layout: str
    channels: tuple[str, ...]
    orientation: str
    shapes: tuple[Grid, ...]
    spacings: tuple[Spacing, ...]
    intensities: tuple[tuple[float, float], ...]
    labels: tuple[Share, ...]
    regions: tuple[str, ...]
    ignored: int | None
    patients: int

    @property
    def cases(self) -> int:
        """How many there are."""
        return len(self.shapes)


def fingerprint(layout: Layout, report: Report, groups: Mapping[str, str]) -> Fingerprint:
    """The fingerprint of the readable cases of a layout.

    Args:
        layout: of `find_cases`.
        report: of `check`, with a case at least.
        groups: of `group_cases`.
    """
    rows = report.rows
    to = volumes.slices_first([(row.spacing, row.orientation) for row in rows])
    labels = {label for row in rows for label in row.voxels} - {layout.labels.ignore}
    return Fingerprint(
        layout=layout.name,
        channels=layout.channels,
        orientation=to,
        shapes=tuple(volumes.turned(row.shape, row.orientation, to) for row in rows),
        spacings=tuple(volumes.turned(row.spacing, row.orientation, to) for row in rows),
        intensities=tuple((row.low, row.high) for row in rows),
        labels=tuple(_share(label, layout.labels.names.get(label, ""), rows) for label in sorted(labels)),
        regions=tuple(layout.labels.regions),
        ignored=layout.labels.ignore,
        patients=len({groups[row.case] for row in rows}),
    )


def _share(label: int, name: str, rows: Sequence[Row]) -> Share:
    shares = [
        row.voxels[label] / (row.shape[0] * row.shape[1] * row.shape[2]) for row in rows if label in row.voxels
    ]
    return Share(label, name, len(shares), median(shares))

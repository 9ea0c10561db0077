"""The report of a study: one HTML file that needs nothing else, and its figures alone for a paper."""

import base64
import io
import json
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from PIL.Image import Image

from spineloss.data.augmentation import Augment, augmented, draw_mixup
from spineloss.data.batches import seen
from spineloss.errors import UserError
from spineloss.figures import slices
from spineloss.files import write_atomically, write_text
from spineloss.metrics import METRICS
from spineloss.report import charts
from spineloss.report.charts import INK
from spineloss.report.content import CURVES, Content
from spineloss.report.gallery import Gallery, series_of
from spineloss.report.scene import scene_of
from spineloss.results.comparison import Result
from spineloss.results.comparison_table import comparison_tables, convergence_table, how_to_read
from spineloss.results.race_course import race_cost
from spineloss.results.race_table import how_races_decide, race_table, race_words
from spineloss.results.score_text import score_with_unit
from spineloss.results.sentences import convergence_words, margins_words
from spineloss.results.statistics import shared_cases
from spineloss.results.table import BESIDE, summary_table
from spineloss.results.text_table import TextTable
from spineloss.seeding import generator
from spineloss.thesis.published import EPOCHS
from spineloss.training.validation import widest_slice

# Beside what decides.
DISTRIBUTIONS = ("dice", "hd95", "surface_dice", "assd", "precision", "recall", "component_dice")
THUMBNAIL, PICTURE = 190, 220  # pixels high
DRAWS = 8
PIXELS_PER_INCH = 100  # of a chart in the page


@dataclass
class Volumes:
    """The sections that need the volumes; empty where the data is no longer there, and `missing` says why."""

    missing: str = ""
    series: dict[str, Any] = field(default_factory=dict)
    extremes: list[dict[str, Any]] = field(default_factory=list)
    scene: dict[str, Any] = field(default_factory=dict)
    cases: list[dict[str, Any]] = field(default_factory=list)
    augmented: dict[str, Image] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)


def write_report(
    content: Content,
    output: Path,
    figures: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
    case: str | None = None,
    channel: str | None = None,
) -> None:
    """Write the report of a study.

    Args:
        content: of `read_content`.
        output: the HTML file.
        figures: a folder for the figures alone, as SVG and PNG; none by default.
        progress: receives a line about what is being done.
        case: of the 3D view; if none, the median case of the method compared with.
        channel: of the images, that the pictures show; the first by default.

    Raises:
        UserError: a file cannot be written, or there is no such case or channel.
    """
    if case not in (None, *content.cases):
        raise UserError(f"{content.folder} has no case {case!r}; it has {', '.join(content.cases)}.")
    volumes = _volumes(content, progress, case, channel)
    drawn = _figures(content) | volumes.figures
    progress(f"Writing {output}")
    settings = {"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # A browser has the letters that the drawing's own font lacks.
        warnings.filterwarnings("ignore", "Glyph")
        write_text(output, _html(content, volumes, drawn))
        if figures is not None:
            for name, figure in (drawn | _picture_figures(volumes)).items():
                for kind in ("svg", "png"):
                    _save(figure, figures / f"{name}.{kind}")


def _picture_figures(volumes: Volumes) -> dict[str, Figure]:
    """What the page shows as tables of pictures, as figures."""
    if volumes.missing:
        return {}
    series = {
        method: [(f"Epoch {epoch}", picture) for epoch, picture in pictures.items()]
        for method, pictures in volumes.series["rows"].items()
        if pictures
    }
    extremes = {
        row["method"]: [
            (
                f"{picture['title']}: {picture['case']}\n{picture['value']}\n{picture['of']}".rstrip(),
                picture["image"],
            )
            for picture in row["pictures"]
        ]
        for row in volumes.extremes
    }
    shown = {"time-series": series, "extremes": extremes, "augmentation": {"": list(volumes.augmented.items())}}
    return {name: charts.strips(rows) for name, rows in shown.items() if rows}


def _save(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:], dpi=200, facecolor="white")
    write_atomically(path, lambda temporary: temporary.write_bytes(buffer.getvalue()))


def _figures(content: Content) -> dict[str, Figure]:
    drawn = {f"distribution-{metric}": charts.distributions(content, metric) for metric in _distributed(content)}
    drawn["precision-recall"] = charts.precision_recall(content)
    drawn |= {f"curve-{column}": charts.curves(content, column) for column in _columns(content)}
    drawn |= {f"weights-{number}": figure for number, figure in enumerate(charts.trajectories(content).values())}
    drawn |= {f"landscape-{number}": figure for number, figure in enumerate(charts.landscapes(content).values())}
    if content.convergence and content.convergence.ranks:
        drawn["curve-rank"] = charts.rank_course(content, content.convergence)
    if content.ranges:
        drawn["rates"] = charts.rate_ranges(content)
    decisive = content.results.get(content.decisive)
    if decisive and decisive.ranking:
        drawn["ranks"] = charts.ranks(decisive.ranking, decisive.metric, decisive.comparison.unit)
    return drawn


def _distributed(content: Content) -> list[str]:
    return list(dict.fromkeys([*content.metrics, *(name for name in DISTRIBUTIONS if name in content.values)]))


def _columns(content: Content) -> list[str]:
    return [column for column in CURVES if column not in METRICS or column in content.values]


def _volumes(content: Content, progress: Callable[[str], None], case: str | None, channel: str | None) -> Volumes:
    try:
        gallery = Gallery(content, progress, channel)
    except UserError as error:
        return Volumes(missing=str(error))
    scans = [gallery.scan(case) for case in gallery.data.samples]
    shares = {scan.case: float(scan.truth.mean()) for scan in scans}
    progress("Predicting the best, median and worst cases")
    return Volumes(
        series=_series(content, gallery),
        extremes=list(_extremes(content, gallery)),
        scene=_scene(content, gallery, case),
        cases=[{"case": scan.case, "shape": scan.truth.shape, "spacing": scan.spacing} for scan in scans],
        augmented=_augmented(content, gallery),
        figures={
            "foreground": charts.foreground(shares),
            "labels": charts.labels(gallery.label_shares()),
            "intensities": charts.histograms([scan.intensities for scan in scans]),
        },
    )


def _series(content: Content, gallery: Gallery) -> dict[str, Any]:
    """Tables 8.2 and 8.3: the first fold's first case, one slice, every method at its validated epochs."""
    case = content.folds[0][0]
    image, truth, spacing = gallery.series_view(case)
    rows = {
        method: {
            epoch: slices.overlay(image, truth, picture.numpy(), spacing, THUMBNAIL)
            for epoch, picture in series_of(content.folder, method, 0).items()
        }
        for method in content.methods
    }
    epochs = sorted({epoch for pictures in rows.values() for epoch in pictures})
    return {"case": case, "epochs": epochs, "rows": rows}


def _extremes(content: Content, gallery: Gallery) -> Iterator[dict[str, Any]]:
    metric = METRICS[content.decisive]
    for method in content.methods:
        values = {
            case: value for case, value in content.values[content.decisive][method].items() if value == value
        }
        order = sorted(values, key=lambda case: values[case], reverse=not metric.higher_is_better)
        if not order:
            continue
        chosen = {"worst": order[0], "median": order[len(order) // 2], "best": order[-1]}
        yield {
            "method": method,
            "pictures": [
                {
                    "title": title,
                    "case": case,
                    "value": f"{metric.title} {score_with_unit(content.decisive, values[case])}",
                    "of": _of_several(len(gallery.trainings(method, case))),
                    "image": _picture(gallery, method, case),
                }
                for title, case in chosen.items()
            ],
        }


def _of_several(trainings: int) -> str:
    """The picture is of one network: a number that is of more says so."""
    return f"mean of {trainings} trainings" if trainings > 1 else ""


def _picture(gallery: Gallery, method: str, case: str) -> Image:
    scan = gallery.scan(case)
    where = scan.slice
    prediction = gallery.prediction(method, case)[where]
    return slices.overlay(scan.intensities[where], scan.truth[where], prediction, scan.spacing[1:], PICTURE)


def _scene(content: Content, gallery: Gallery, chosen: str | None) -> dict[str, Any]:
    """The chosen case, or the median one of the method compared with, by every method that finished its fold."""
    best = content.results[content.decisive].comparison.reference if content.results else content.methods[0]
    values = content.values[content.decisive]
    shared = shared_cases(values) or list(values[best])
    case = chosen or sorted(shared, key=lambda case: values[best][case])[len(shared) // 2]
    methods = [method for method in content.methods if gallery.trainings(method, case)]
    # It comes first: it is what the viewer opens with.
    scene = scene_of(gallery, case, sorted(methods, key=lambda method: method != best))
    return scene | {"choice": "as chosen" if chosen else f"the median case of {best}"}


def _augmented(content: Content, gallery: Gallery) -> dict[str, Image]:
    """One case as the network sees it, and changed by each augmentation in turn, as training draws them."""
    sample, partner = list(gallery.data.samples.values())[:2]
    patch, labelling, key = content.study.patch, gallery.data.labelling, (content.study.seed, 0, 1)
    (image, target), (other, _) = (seen(each, patch, labelling, (*key, each.case)) for each in (sample, partner))
    augment, key = Augment(**content.study.augment.model_dump()), (*key, sample.case)
    images = {"as the network sees it": image}
    for name, probability in augment.of_one_case().items():
        changed = augmented(image, target, sample.spacing, augment.only(name), key)[0]
        images[f"{name.replace('_', ' ')}, probability {probability:g}"] = changed
    if augment.mixup > 0:
        share = _visible_share(generator(*key), augment.mixup_alpha)
        mixed = share * image + (1 - share) * other
        images[f"MixUp, {100 * share:.0f} % of it, probability {augment.mixup:g}"] = mixed
    where = widest_slice(labelling.masks(target))
    return {
        caption: slices.plain(picture[gallery.shown, where].numpy(), sample.spacing[1:], PICTURE)
        for caption, picture in images.items()
    }


def _visible_share(random: np.random.Generator, alpha: float) -> float:
    """A share of MixUp that shows: most of those it draws leave one of the two cases nearly alone."""
    shares = (draw_mixup(random, 1.0, alpha, 2).share for _ in range(DRAWS))
    return min(shares, key=lambda share: abs(share - 0.5))


def _html(content: Content, volumes: Volumes, drawn: dict[str, Figure]) -> str:
    environment = Environment(
        loader=PackageLoader("spineloss.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"uri": slices.uri, "breakable": _breakable}
    parts = files("spineloss") / "report"
    deciding = [content.results[metric] for metric in content.metrics if content.results]
    comparison = deciding[0].comparison if deciding else None
    return environment.get_template("page.html").render(
        content=content,
        volumes=volumes,
        metrics=METRICS,
        decisive=METRICS[content.decisive],
        comparison=comparison,
        published_epochs=content.anatomy and EPOCHS[content.anatomy],
        structures=_structures(content),
        groups=[[metric for metric in content.values if (metric in BESIDE) == beside] for beside in (False, True)],
        margins=margins_words(deciding),
        distributions=_distributed(content),
        curve_titles=_curve_titles(content, drawn),
        convergence=content.convergence,
        converged_words=_converged(content),
        convergence_table=content.convergence and convergence_table(content.convergence),
        figures={name: _inline(figure, name) for name, figure in drawn.items()},
        style=Markup((parts / "page.css").read_text(encoding="utf-8")),
        script=Markup((parts / "page.js").read_text(encoding="utf-8")),
        viewer=base64.b64encode((parts / "vendor" / "niivue.umd.js.gz").read_bytes()).decode(),
        viewer_licences=Markup((parts / "vendor" / "README.md").read_text(encoding="utf-8")),
        scene=_json(volumes.scene),
        comparisons=[_comparison(result) for result in deciding],
        how_to_read=how_to_read(deciding) if deciding else [],
        colours={"found": slices.FOUND, "added": slices.ADDED, "missed": slices.MISSED},
        race=content.race
        and {
            "words": " ".join(race_words(content.race, race_cost(content.race, content.folder))),
            "table": race_table(content.race),
            "how": how_races_decide(content.race),
        },
        record=next(iter(content.records.values())),
        settings=content.study.plain(),
        seconds=sum(record["timing"]["seconds"] for record in content.records.values()),
    )


def _structures(content: Content) -> TextTable | None:
    """Each structure's scores, of which the table of results has the mean; none where there is one structure."""
    apart = [row for row in content.rows if row.label != "mean"]
    if len(apart) == len(content.rows):
        return None
    return summary_table(apart, "Each structure by itself", content.study.folds)


def _curve_titles(content: Content, drawn: dict[str, Figure]) -> dict[str, str]:
    titles = {
        name: METRICS[name].title if name in METRICS else charts.CURVE_TITLES[name] for name in _columns(content)
    }
    if "curve-rank" in drawn:
        titles["rank"] = f"Rank by {METRICS[content.decisive].title}"
    return titles


def _converged(content: Content) -> str:
    words = convergence_words(content.convergence)
    return (
        f"By {METRICS[content.decisive].title}, {words}." if words else "All curves were flat when training ended."
    )


def _comparison(result: Result) -> dict[str, Any]:
    return {"metric": METRICS[result.metric].title, "tables": comparison_tables(result, convergence=False)}


def _breakable(name: str) -> Markup:
    """A name that a narrow column breaks after an underscore."""
    return escape(name).replace("_", Markup("_<wbr>"))


def _json(value: Any) -> Markup:
    """Plain data inside a script element: nothing in it can end the element, and browsers read no NaN."""
    return Markup(json.dumps(value, allow_nan=False).replace("<", "\\u003c"))


def _inline(figure: Figure, name: str) -> Markup:
    """A figure as SVG with ids of its own, in the page's text colour, as wide as it was drawn or narrower."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    svg = text[text.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'((?:xlink:)?href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r' height="[^"]*"', "", svg, count=1)
    width = f'style="max-width: {PIXELS_PER_INCH * figure.get_figwidth():.0f}px"'
    return Markup(re.sub(r'<svg ([^>]*?)width="[^"]*"', rf"<svg \1{width}", svg, count=1))

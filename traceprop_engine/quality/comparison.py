"""Several estimators judged on the same retrained models, as a table and as bars."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from traceprop_engine.attribution.bars import short_name
from traceprop_engine.attribution.scores import AttributionScores
from traceprop_engine.errors import QualityError
from traceprop_engine.presentation import visible
from traceprop_engine.quality.lds import LdsQuality, judge
from traceprop_engine.quality.subsets import SubsetTruth

_LEFT, _WIDTH, _LINE, _BAR, _RIGHT = 240, 320, 24, 14, 64


@dataclass(frozen=True, eq=False)
class Comparison:
    """Linear datamodeling scores of several estimators, the best first.

    Attributes:
        names: What each estimator is called, ``[n]``.
        qualities: Its score, ``[n]``.
        seconds: Processor time of each, where it is known.
    """

    names: tuple[str, ...]
    qualities: tuple[LdsQuality, ...]
    seconds: tuple[float | None, ...]

    def behind(self, place: int) -> tuple[float, float]:
        """Return a 95 % interval of the best one's lead, in the same bootstrap draws."""
        lead = self.qualities[0].resampled - self.qualities[place].resampled
        low, high = np.percentile(lead, [2.5, 97.5])
        return float(low), float(high)

    def to_markdown(self) -> str:
        """Return the table, and below it what all rows of it have in common."""
        lines = [
            "| estimator | LDS | 95 % interval | behind the best | of the ceiling | CPU s |",
            "|---|---:|---|---|---:|---:|",
        ]
        lines += [self._line(place) for place in range(len(self.names))]
        return "\n".join([*lines, "", self._settings()])

    def to_svg(self) -> Markup:
        """Return bars with their intervals, and the noise ceiling as a line."""
        height = len(self.names) * _LINE + 24
        bars = Markup().join(self._bar(place) for place in range(len(self.names)))
        title = f"LDS of {len(self.names)} estimators"
        width = _LEFT + _WIDTH + _RIGHT
        return Markup(
            '<svg class="plot" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img">'
            "<title>{2}</title>{3}{4}</svg>"
        ).format(width, height, title, bars, self._ceiling_line(height))

    def _line(self, place: int) -> str:
        quality, seconds = self.qualities[place], self.seconds[place]
        low, high = quality.interval
        cells = [
            visible(self.names[place]).replace("|", "\\|"),
            f"{quality.mean:.3f}",
            f"{low:.3f} to {high:.3f}",
            "" if place == 0 else "{:.3f} to {:.3f}".format(*self.behind(place)),
            f"{quality.mean / quality.ceiling:.0%}" if quality.ceiling else "",
            "" if seconds is None else f"{seconds:.2f}",
        ]
        return f"| {' | '.join(cells)} |"

    def _settings(self) -> str:
        one = self.qualities[0]
        ceiling = "not measured" if one.ceiling is None else f"{one.ceiling:.3f}"
        agreement = one.retrain_correlation
        between = "" if agreement is None else f" (two retrainings agree by {agreement:.3f})"
        return (
            f"Model {one.model}; {one.n_train:,} training rows; {one.n_query} queries; target "
            f"{one.target}; {one.n_subsets} subsets of {one.keep:.0%} of the rows, "
            f"{one.seeds_per_subset} models each ({one.seed_policy}); seed {one.seed}. Noise "
            f"ceiling {ceiling}{between}. Spearman for each query over subsets, then the mean; "
            "bootstrap over queries and subsets."
        )

    def _bar(self, place: int) -> Markup:
        quality = self.qualities[place]
        middle = place * _LINE + _LINE / 2
        low, high = (_across(value) for value in quality.interval)
        left, right = sorted((_across(0.0), _across(quality.mean)))
        return Markup(
            '<text class="tick end" x="{}" y="{:g}">{}</text>'
            '<rect class="{}" x="{:.1f}" y="{:g}" width="{:.1f}" height="{}"/>'
            '<line class="axis" x1="{:.1f}" y1="{y:g}" x2="{:.1f}" y2="{y:g}"/>'
            '<text class="tick" x="{}" y="{:g}">{:.3f}</text>'
        ).format(
            *(_LEFT - 8, middle + 4, escape(short_name(self.names[place]))),
            *("up" if quality.mean >= 0 else "down", left, middle - _BAR / 2, right - left, _BAR),
            *(low, high),
            *(_LEFT + _WIDTH + 8, middle + 4, quality.mean),
            y=middle,
        )

    def _ceiling_line(self, height: int) -> Markup:
        ceiling = self.qualities[0].ceiling
        if ceiling is None:
            return Markup()
        return Markup(
            '<line class="axis" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{}" stroke-dasharray="4 3"/>'
            '<text class="tick end" x="{x:.1f}" y="{}">noise ceiling {:.3f}</text>'
        ).format(height - 16, height - 4, ceiling, x=_across(ceiling))


def compare(
    estimates: Mapping[str, AttributionScores],
    truth: SubsetTruth,
    *,
    seconds: Mapping[str, float] | None = None,
) -> Comparison:
    """Judge several estimators on the same retrained models.

    Args:
        estimates: Scores of the same queries and rows, by the name of their estimator.
        truth: From `retrain_subsets`.
        seconds: Processor time of estimators, by name.

    Raises:
        QualityError: There is no estimator, or scores are not of these queries, rows or target.
    """
    if not estimates:
        raise QualityError("there are no scores to compare", "pass at least one estimator")
    judged = {name: judge(scores, truth) for name, scores in estimates.items()}
    names = sorted(judged, key=lambda name: -judged[name].mean)
    spent = seconds or {}
    return Comparison(
        names=tuple(names),
        qualities=tuple(judged[name] for name in names),
        seconds=tuple(spent.get(name) for name in names),
    )


def _across(value: float) -> float:
    """Return where a correlation stands; below zero there is a tenth of the width."""
    return _LEFT + _WIDTH * (min(1.0, max(-0.1, value)) + 0.1) / 1.1

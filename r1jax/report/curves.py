"""The curves of a run, drawn from what it recorded; a curve without data is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, PercentFormatter, StrMethodFormatter

from r1jax.report.chart import Chart, Theme, curve, cycle

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Curves:
    """A chart of metrics against updates; `keys` are metric -> label, drawn where present."""

    name: str
    title: str
    caption: str
    unit: str
    keys: Mapping[str, str]
    log: bool = False
    share: bool = False

    def chart(self, metrics: Rows) -> Chart | None:
        """None where no metric has a value."""
        found = {label: points for key, label in self.keys.items() if (points := _of(metrics, key))}
        if self.log:
            found = {k: kept for k, v in found.items() if (kept := [p for p in v if p[1] > 0])}
        if not found:
            return None

        def draw(axes: Axes, theme: Theme) -> None:
            for (label, points), color in zip(found.items(), cycle(theme, found), strict=True):
                curve(axes, points, color, label if len(found) > 1 else None)
            if self.log:
                axes.set_yscale("log")
                axes.yaxis.set_minor_formatter(NullFormatter())
                values = [y for points in found.values() for _, y in points]
                axes.set_ylim(10 ** np.floor(np.log10(min(values))),
                              10 ** np.ceil(np.log10(max(values)) + 0.1))  # fmt: skip
            if self.share:
                axes.set_ylim(0, max(0.01, axes.get_ylim()[1]))
                axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            elif not self.log and 0 < max(abs(limit) for limit in axes.get_ylim()) < 0.01:
                axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
            elif max(abs(limit) for limit in axes.get_ylim()) >= 1000:
                axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axes.set_ylabel(self.unit)

        return Chart(self.name, self.title, self.caption, draw)


CURVES = (
    Curves(
        "length", "Response length",
        "Mean tokens of a completion, right and wrong ones apart (the paper’s figure 3).",
        "tokens",
        {"completion/length_mean": "all", "completion/length_mean_correct": "right",
         "completion/length_mean_wrong": "wrong"},
    ),
    Curves(
        "entropy", "Entropy of the policy",
        "A fall to zero means that exploration has ended; a steep rise, that the text breaks up.",
        "nats per token", {"policy/entropy": "entropy"},
    ),
    Curves(
        "clip", "Clipped tokens",
        "Share of tokens whose probability ratio left the trust region.",
        "share of tokens", {"policy/clip_frac": "clipped"}, share=True,
    ),
    Curves(
        "zero_std", "Groups that teach nothing",
        "Groups whose completions all got the same reward, and completions cut at the limit.",
        "share",
        {"group/zero_std_frac": "groups of equal reward", "completion/truncated_frac": "truncated"},
        share=True,
    ),
    Curves(
        "logp_diff", "Sampler against trainer",
        "Difference of the log-probabilities of the sampled tokens; float32 stays below 1e-5.",
        "|difference|, log scale",
        {"policy/logp_diff_mean": "mean", "policy/logp_diff_p99": "99th percentile",
         "policy/logp_diff_max": "largest"},
        log=True,
    ),
    Curves(
        "reflection", "Words of reflection",
        "The paper’s ten words (wait, mistake, however, …) per 1,000 tokens.",
        "per 1,000 tokens", {"completion/reflection_per_1k": "reflection"},
    ),
    Curves(
        "kl", "Distance from the reference", "KL divergence per token, where there is a reference.",
        "nats per token", {"policy/kl_ref": "KL"},
    ),
    Curves(
        "loss", "Loss", "A policy gradient’s loss hovers near zero and is no measure of progress.",
        "loss", {"loss": "loss"},
    ),
    Curves("grad_norm", "Gradient norm", "Before clipping.", "norm", {"grad_norm": "norm"}),
    Curves("lr", "Learning rate", "The schedule as it was followed.", "rate", {"lr": "rate"}),
    Curves(
        "throughput", "Tokens per second", "Sampled, and passed through the update.",
        "tokens per second",
        {"perf/rollout_tokens_per_s": "rollout", "perf/train_tokens_per_s": "update"},
    ),
)  # fmt: skip


PHASES = ("rollout", "reward", "score", "update", "eval", "checkpoint")
"""Phases of a rollout and its updates, in the order in which they happen."""


def charts(metrics: Rows, evaluations: Rows) -> list[Chart]:
    """Every chart for which `metrics.jsonl` and `eval.json` hold data, in reading order."""
    length, *rest = (curves.chart(metrics) for curves in CURVES)
    likelihood = _likelihood(metrics, evaluations)
    if likelihood:  # which is the loss
        rest = [chart for chart in rest if chart is None or chart.name != "loss"]
    found = [
        _accuracy(evaluations), likelihood, length, _rewards(metrics).chart(metrics), *rest,
        _phases(metrics),
    ]  # fmt: skip
    return [chart for chart in found if chart is not None]


def _likelihood(metrics: Rows, evaluations: Rows) -> Chart | None:
    """Supervised loss of the examples that are learnt, and of every held-out set."""
    learnt = _of(metrics, "sft/nll")
    sets: dict[str, list[tuple[int, float]]] = {}
    for row in evaluations:
        if row.get("nll") is not None and row.get("update") is not None:
            sets.setdefault(str(row.get("set", "held out")), []).append((row["update"], row["nll"]))
    if not learnt and not sets:
        return None

    def draw(axes: Axes, theme: Theme) -> None:
        first, *others = cycle(theme, [None, *sets])
        if learnt:
            curve(axes, learnt, first, "training")
        for (name, points), color in zip(sets.items(), others, strict=True):
            axes.plot(*zip(*sorted(points), strict=True), "o-", color=color, lw=1.8, ms=4,
                      label=name)  # fmt: skip
        axes.set_ylabel("nats per token")

    return Chart(
        "nll", "Loss",
        "Negative log-likelihood of the learnt tokens, in training and on held-out examples; where "
        "the two part, the examples are being memorised.",
        draw, wide=True,
    )  # fmt: skip


def _rewards(metrics: Rows) -> Curves:
    """`reward/mean` first, then every part that was recorded."""
    names = dict.fromkeys(key for row in metrics for key in row if key.startswith("reward/"))
    keys = {"reward/mean": "total"} | {
        name: name.removeprefix("reward/").replace("_", " ")
        for name in names
        if name != "reward/mean"
    }
    return Curves("reward", "Reward", "Mean of the total and of each of its parts.", "reward", keys)


def _accuracy(evaluations: Rows) -> Chart | None:
    """Held-out pass@1 with its interval, and the majority vote, of every set."""
    sets: dict[str, list[Mapping[str, Any]]] = {}
    for row in evaluations:
        if row.get("pass_at_1") is not None and row.get("update") is not None:
            sets.setdefault(str(row.get("set", "eval")), []).append(row)
    if not sets:
        return None

    def draw(axes: Axes, theme: Theme) -> None:
        for (name, rows), color in zip(sets.items(), cycle(theme, sets), strict=True):
            prefix = f"{name}: " if len(sets) > 1 else ""
            rows = sorted(rows, key=lambda row: row["update"])
            updates = [row["update"] for row in rows]
            axes.plot(updates, [row["pass_at_1"] for row in rows], "o-", color=color, lw=1.8,
                      ms=4, label=f"{prefix}pass@1")  # fmt: skip
            if all(row.get("pass_at_1_ci") for row in rows):
                low, high = zip(*(row["pass_at_1_ci"] for row in rows), strict=True)
                axes.fill_between(updates, low, high, color=color, alpha=0.15, lw=0)
            vote = next((key for key in rows[0] if key.startswith("cons_at_")), None)
            for key, label, style in (
                (vote, f"cons@{str(vote).removeprefix('cons_at_')}", "--"),
                ("pass_at_1_strict", "pass@1, strict format", ":"),
            ):
                points = _of(rows, key) if key else []
                if points:
                    axes.plot(*zip(*points, strict=True), style, color=color, lw=1.4,
                              label=prefix + label)  # fmt: skip
        axes.set_ylim(0, 1.01)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_ylabel("held-out accuracy")

    return Chart(
        "accuracy", "Held-out accuracy",
        "pass@1 is the mean over the samples of each problem, the band its 95 % interval; cons@k "
        "is the majority vote of k samples (the paper’s figure 2).",
        draw, wide=True,
    )  # fmt: skip


def _phases(metrics: Rows) -> Chart | None:
    """Seconds by phase, stacked: of each rollout with its updates, or of each update."""
    known = [f"time/{name}" for name in PHASES]
    recorded = dict.fromkeys(key for row in metrics for key in row if key.startswith("time/"))
    phases = [*(key for key in known if key in recorded),
              *(key for key in recorded if key not in known)]  # fmt: skip
    unit = "rollout" if any(row.get("rollout") for row in metrics) else "update"
    totals: dict[int, dict[str, float]] = {}
    starts: dict[int, int] = {}
    for row in metrics:
        of = totals.setdefault(row.get(unit, row["update"]), dict.fromkeys(phases, 0.0))
        starts.setdefault(row.get(unit, row["update"]), row["update"])
        for phase in phases:
            of[phase] += row.get(phase) or 0.0
    if not phases:
        return None
    each = -(-len(totals) // 80)  # rollouts averaged in one bar
    bins = np.split(np.arange(len(totals)), range(each, len(totals), each))
    table = np.array([[of[phase] for phase in phases] for of in totals.values()])
    heights = np.array([table[index].mean(0) for index in bins])
    at = np.array(list(starts.values()))
    left = np.array([at[index[0]] for index in bins], float)
    widths = np.diff(left, append=2 * left[-1] - left[-2] if len(left) > 1 else left[-1] + 1)

    def draw(axes: Axes, theme: Theme) -> None:
        bottom = np.zeros(len(bins))
        for column, color in enumerate(cycle(theme, phases)):
            label = phases[column].removeprefix("time/")
            axes.bar(left, heights[:, column], widths * 0.92, bottom, align="edge", color=color,
                     label=label)  # fmt: skip
            bottom += heights[:, column]
        axes.set_ylabel(f"seconds per {unit}")

    caption = "Seconds of a rollout with its updates, by phase."
    caption = caption if unit == "rollout" else "Seconds of an update, by phase."
    return Chart("time", "Where the time goes", caption, draw, wide=True)


def _of(rows: Rows, key: str) -> list[tuple[int, float]]:
    """(update, value) wherever a row has a value for `key`."""
    return [(row["update"], row[key]) for row in rows if row.get(key) is not None]

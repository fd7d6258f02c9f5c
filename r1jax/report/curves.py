"""The curves of a run, drawn from what it recorded; a curve without data is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from r1jax.report.chart import Chart, Line, Theme, lines
from r1jax.run.directory import Record

Rows = Sequence[Record]


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
        curves = [(label, points) for key, label in self.keys.items()
                  if (points := series(metrics, key))]  # fmt: skip
        drawn = [Line(label if len(curves) > 1 else "", points, "~") for label, points in curves]
        span = (0, None) if self.share else (None, None)
        return lines(self.name, self.title, self.caption, self.unit, drawn, span=span,
                     share=self.share, log=self.log)  # fmt: skip


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
         "policy/logp_diff_max": "largest", "policy/sampler_kl": "KL (k3 of π_old/μ)"},
        log=True,
    ),
    Curves(
        "routes", "Experts chosen otherwise",
        "Share of routings (a token, a layer) for which sampler and trainer chose other experts.",
        "share of routings", {"policy/route_diff_frac": "chosen otherwise"}, share=True,
    ),
    Curves(
        "load", "Load of the fullest expert",
        "Tokens of a layer’s most loaded expert over the mean of its experts; 1 is even.",
        "times the mean",
        {"experts/load_max": "layers of the model", "ahead/load_max": "layer ahead"},
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
        "teacher", "Distance from the teacher",
        "Mean of log π / π of the teacher over the tokens written, or of whole distributions’ KL.",
        "nats per token", {"teacher/kl": "log π / π_T", "teacher/divergence": "divergence"},
    ),
    Curves(
        "critic", "Critic",
        "Share of the returns’ variance that the critic explains; below 0 their mean does better.",
        "share of variance", {"critic/explained_variance": "explained variance"},
    ),
    Curves(
        "prime", "Reward tower",
        "Pairs of a right and a wrong completion that it puts in order, and completions it tells "
        "right from wrong before it learns from them.",
        "share", {"prime/dpo_acc": "pairs", "prime/accuracy": "completions"}, share=True,
    ),
    Curves(
        "prime_loss", "Loss of the reward tower", "Cross-entropy; 0.69 knows nothing.",
        "nats per completion", {"prime/loss": "cross-entropy"},
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


def charts(metrics: Rows, evaluations: Rows, counter: str = "update") -> list[Chart]:
    """Every chart for which `metrics.jsonl` and `eval.json` hold data, in reading order.

    `counter` is the word for what the run counts.
    """
    length, *rest = (curves.chart(metrics) for curves in CURVES)
    likelihood = lines(
        "nll", "Loss",
        "Negative log-likelihood of the learnt tokens, in training and on held-out examples; where "
        "the two part, the examples are being memorised.",
        "nats per token", learnt_and_held_out(metrics, "sft/nll", evaluations, "nll"), wide=True,
    )  # fmt: skip
    if likelihood:  # which is the loss
        rest = [chart for chart in rest if chart is None or chart.name != "loss"]
    candidates = [
        _accuracy(evaluations, counter), likelihood, length, _rewards(metrics).chart(metrics),
        *rest, _phases(metrics, counter),
    ]  # fmt: skip
    return [chart for chart in candidates if chart is not None]


def series(rows: Rows, key: str) -> list[tuple[int, float]]:
    """(update, value) wherever a row has a value for `key`."""
    return [(row["update"], row[key]) for row in rows if row.get(key) is not None]


def held_out(evaluations: Rows, key: str) -> dict[str, list[Record]]:
    """Evaluations with a value for `key`, by held-out set, each in the order of its updates."""
    sets: dict[str, list[Record]] = {}
    for row in evaluations:
        if row.get(key) is not None and row.get("update") is not None:
            sets.setdefault(str(row.get("set", "held out")), []).append(row)
    return {name: sorted(rows, key=lambda row: row["update"]) for name, rows in sets.items()}


def ends(rows: Rows, key: str) -> list[tuple[float, float, float]]:
    """(update, low, high) wherever a row has an interval for `key`."""
    return [(row["update"], *row[f"{key}_ci"]) for row in rows if row.get(f"{key}_ci")]


def learnt_and_held_out(metrics: Rows, metric: str, evaluations: Rows, key: str) -> list[Line]:
    """A metric of training, and what it corresponds to on every held-out set with its interval."""
    sets = held_out(evaluations, key).items()
    training = Line("training", series(metrics, metric), "~", color=0)
    return [training, *(Line(name, series(rows, key), color=place, ends=ends(rows, key))
                        for place, (name, rows) in enumerate(sets, 1))]  # fmt: skip


def _rewards(metrics: Rows) -> Curves:
    """`reward/mean` first, then every part that was recorded."""
    names = dict.fromkeys(key for row in metrics for key in row if key.startswith("reward/"))
    parts = {name: name.removeprefix("reward/").replace("_", " ") for name in names}
    keys = {"reward/mean": "total"} | parts | {"reward/mean": "total"}
    return Curves("reward", "Reward", "Mean of the total and of each of its parts.", "reward", keys)


def _accuracy(evaluations: Rows, counter: str) -> Chart | None:
    """Held-out pass@1 with its interval, and the majority vote, of every set."""
    sets, drawn = held_out(evaluations, "pass_at_1"), []
    for place, (name, rows) in enumerate(sets.items()):
        prefix = f"{name}: " if len(sets) > 1 else ""
        vote = next((key for key in rows[0] if key.startswith("cons_at_")), "")
        interval = ends(rows, "pass_at_1")
        drawn += [
            Line(f"{prefix}pass@1", series(rows, "pass_at_1"), "o-", place, interval),
            Line(prefix + vote.replace("_at_", "@"), series(rows, vote), "--", place),
            Line(f"{prefix}pass@1, strict format", series(rows, "pass_at_1_strict"), ":", place),
        ]  # fmt: skip
    return lines(
        "accuracy", "Held-out accuracy",
        "pass@1 is the mean over the samples of each problem, the band its 95 % interval; cons@k "
        "is the majority vote of k samples (the paper’s figure 2).",
        "held-out accuracy", drawn, x=counter, span=(0, 1.01), share=True, wide=True,
    )  # fmt: skip


def _phases(metrics: Rows, counter: str) -> Chart | None:
    """Seconds by phase, stacked: of each rollout with its updates, or of each update or round."""
    recorded = dict.fromkeys(key for row in metrics for key in row if key.startswith("time/"))
    known = dict.fromkeys(f"time/{name}" for name in PHASES)
    phases = [key for key in known | recorded if key in recorded]
    if not phases:
        return None
    unit = "rollout" if any(row.get("rollout") for row in metrics) else "update"
    totals: dict[int, tuple[int, np.ndarray]] = {}  # its first update, seconds of each phase
    for row in metrics:
        new = row["update"], np.zeros(len(phases))
        _, seconds = totals.setdefault(row.get(unit, row["update"]), new)
        seconds += [row.get(phase) or 0.0 for phase in phases]
    each = -(-len(totals) // 80)  # rollouts averaged in one bar
    starts, spent = zip(*totals.values(), strict=True)
    left = np.array(starts[::each], float)
    heights = np.array([np.mean(spent[i : i + each], 0) for i in range(0, len(spent), each)])
    widths = np.diff(left, append=2 * left[-1] - left[-2] if len(left) > 1 else left[-1] + 1)

    def draw(axes: Axes, theme: Theme) -> None:
        bottom = np.zeros(len(left))
        for column, phase in enumerate(phases):
            axes.bar(left, heights[:, column], widths * 0.92, bottom, align="edge",
                     color=theme.color(column), label=phase.removeprefix("time/"))  # fmt: skip
            bottom += heights[:, column]
        axes.set_xlabel(counter)
        axes.set_ylabel(f"seconds per {unit if unit == 'rollout' else counter}")

    one = "an update" if counter == "update" else f"a {counter}"
    of = "a rollout with its updates" if unit == "rollout" else one
    return Chart("time", "Where the time goes", f"Seconds of {of}, by phase.", draw, wide=True)

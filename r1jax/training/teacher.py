"""The flags that name a teacher: a frozen model with the student's tokens that is learnt from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from r1jax.endpoint import Connection
from r1jax.errors import UserError, check_ranges
from r1jax.models.divergence import Direction


@dataclass(frozen=True)
class NamedTeacher:
    """Which model, with which weights."""

    model: str = ""
    """A model, named as by --model; empty: no teacher."""
    family: str = ""
    """A reader of its config.json: package.module:function."""
    parent: str = ""
    """Directory of a run's checkpoints whose weights replace the teacher's own."""

    @property
    def there(self) -> bool:
        """Whether there is a teacher at all."""
        return bool(self.model)

    def __post_init__(self) -> None:
        """Raises UserError where something is said of no teacher, or it is behind an endpoint."""
        if not self.there and any(getattr(self, f.name) != f.default for f in fields(self)):
            raise UserError("--teacher.*: names no --teacher.model; give one, or leave these out")
        if self.model.startswith(("http://", "https://")):
            raise UserError(
                f"--teacher.model {self.model}: is an endpoint; on-policy distillation takes it as "
                "--teacher.endpoint.base-url, elsewhere learn from its texts (--data.train)"
            )


@dataclass(frozen=True)
class DistributionTeacher(NamedTeacher):
    """How a student's next-token distribution is compared with the teacher's."""

    kind: Direction = "forward"
    """forward: KL(teacher, student), which covers all the teacher may say; reverse: KL(student,
    teacher), which keeps to what it is likely to say; jsd: of both to their mixture (GKD)."""
    beta: float = 0.5
    """Share of the teacher in jsd's mixture: towards 0 it is like forward, towards 1 reverse."""
    top_k: int = 0
    """Likeliest tokens of the teacher that are told apart, all others as one; 0: all."""

    def __post_init__(self) -> None:
        """Raises UserError as above, and when a value is out of range or would not be read."""
        super().__post_init__()
        check_ranges(self, "--teacher.", beta="(0,1)", top_k="[0,]")
        if self.beta != 0.5 and self.kind != "jsd":
            raise UserError(f"--teacher.beta {self.beta}: only --teacher.kind jsd reads it")


@dataclass(frozen=True)
class TeacherEndpoint(Connection):
    """A served teacher that gives log-probabilities of a prompt's tokens."""

    max_lost: float = 0.1
    """Share of a rollout's completions that may come back without them: nothing is learnt from the
    teacher there. With more the run ends."""

    flag: ClassVar[str] = "--teacher.endpoint."

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(self, self.flag, max_lost="[0,1)")


@dataclass(frozen=True)
class PolicyTeacher(DistributionTeacher):
    """A model that judges every token the policy writes: on-policy distillation."""

    kind: Literal["sampled", "forward", "jsd", "reverse"] = "sampled"
    """sampled: log p of the teacher - log p of the policy is added to the advantage of each token;
    forward, reverse, jsd: the divergence of whole distributions is added to the loss, at more
    computation and less noise (KL of teacher and policy, of policy and teacher, of both to their
    mixture: GKD)."""
    weight: float = 1.0
    """Weight of what is added; with every --reward at 0 it is all that is learnt from."""
    shown: Literal["", "policy", "reference"] = ""
    """No other model: the policy judges what it wrote itself, shown another answer of the same
    group that is right (SDPO); answers without one teach nothing. policy: as it stands; reference:
    its start, or with --train.reference-every 1 --train.reference-rate 0.05 a moving average."""
    endpoint: TeacherEndpoint = TeacherEndpoint()
    """No model here: the teacher is served elsewhere, by vLLM or SGLang."""

    def __post_init__(self) -> None:
        """Raises UserError as above, and when a value is out of range or would not be read."""
        super().__post_init__()
        check_ranges(self, "--teacher.", weight="(0,]")
        if self.shown:
            for name, right in {"model": "", "family": "", "parent": "", "kind": "sampled"}.items():
                if (value := getattr(self, name)) != right:
                    raise UserError(
                        f"--teacher.{name} {value}: --teacher.shown {self.shown} is the policy "
                        "itself, by the tokens that were sampled; leave one of the two out"
                    )
        if self.served:
            self._check_served()
        if self.top_k and not self.whole:
            raise UserError(f"--teacher.top-k {self.top_k}: --teacher.kind sampled reads no others")

    @property
    def there(self) -> bool:
        """Whether there is a teacher at all."""
        return bool(self.model or self.shown or self.served)

    @property
    def served(self) -> bool:
        """Whether the teacher is behind an endpoint."""
        return bool(self.endpoint.base_url)

    @property
    def whole(self) -> bool:
        """Whether whole distributions are compared, not the tokens that were sampled."""
        return self.kind != "sampled"

    def _check_served(self) -> None:
        where = f"--teacher.endpoint.base-url {self.endpoint.base_url}"
        for name in ("model", "family", "parent", "shown"):
            if value := getattr(self, name):
                raise UserError(
                    f"--teacher.{name} {value}: {where} is a teacher of its own; leave one out"
                )
        if self.whole and not self.top_k:
            raise UserError(
                f"--teacher.kind {self.kind}: {where} returns no whole distributions; say with "
                "--teacher.top-k how many of its likeliest tokens are compared (20)"
            )

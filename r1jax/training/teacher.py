"""The flags that name a teacher: a frozen model with the student's tokens that is learnt from."""

from __future__ import annotations

from dataclasses import dataclass, fields

from r1jax.errors import UserError, check_ranges


@dataclass(frozen=True)
class NamedTeacher:
    """Which model, with which weights."""

    model: str = ""
    """A model, named as by --model; empty: no teacher."""
    family: str = ""
    """A reader of its config.json: package.module:function."""
    parent: str = ""
    """Directory of a run's checkpoints whose weights replace the teacher's own."""

    def __post_init__(self) -> None:
        """Raises UserError where something is said of no teacher, or it is behind an endpoint."""
        if not self.model and any(getattr(self, f.name) != f.default for f in fields(self)):
            raise UserError("--teacher.*: names no --teacher.model; give one, or leave these out")
        if self.model.startswith(("http://", "https://")):
            raise UserError(
                f"--teacher.model {self.model}: is an endpoint teacher that returns no "
                "log-probabilities; name a model directory, or learn from its texts (--data.train)"
            )


@dataclass(frozen=True)
class PolicyTeacher(NamedTeacher):
    """A model that says of every token the policy writes how likely it would have written it."""

    weight: float = 1.0
    """Weight of log p of the teacher - log p of the policy, which is added to the advantage of each
    token (on-policy distillation; with every --reward at 0 it is all that is learnt from)."""

    def __post_init__(self) -> None:
        """Raises UserError as above, and when a value is out of range."""
        super().__post_init__()
        check_ranges(self, "--teacher.", weight="(0,]")

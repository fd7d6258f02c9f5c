"""Distils a reasoning model into a dense student (paper, section 2.4).

    r1jax distill --preset qwen-7b --model DIRECTORY --data.train SAMPLES.jsonl

Supervised fine-tuning on the teacher's samples, with the paper's numbers: `--preset qwen-1.5b` (the
default), qwen-7b, qwen-14b, qwen-32b, llama-8b or llama-70b, each with its own learning rate and
its base as --model. Where teacher and student share their tokens, `--teacher.model DIRECTORY`
learns the teacher's distributions as well (`--teacher.kind reverse`, `--teacher.top-k 64`,
`--teacher.weight 0.5`), and `--teacher.parent runs/NAME/checkpoints` takes them from a run. Samples
of a teacher behind an endpoint, or filtered ones, come as files. Time is not measured yet. Leaves
runs/distill-<student> with loss curves, checkpoints, report.html and the model in hf/.

    r1jax distill --on-policy --model STUDENT --teacher.model TEACHER --data.train PROBLEMS.jsonl

has the student write, and the teacher say of each token how likely it would have written it:
on-policy distillation, or, with --teacher.kind jsd, how far its distribution is from the student's
(GKD). `--teacher.endpoint.base-url URL --teacher.endpoint.model NAME` asks a teacher that vLLM or
SGLang serves (docs/losses.md). With `--preset sdpo` it is its own teacher, shown a right answer of
the same group (`--teacher.shown`). It has all flags of `r1jax zero` (where --teacher.model adds the
teacher to the reward), and the presets research, sdpo and demo (the embedded base; a teacher for
it: --teacher.model embedded --teacher.parent runs/demo/checkpoints). Leaves runs/distill-on-policy.
"""

from r1jax.commands import Command
from r1jax.errors import UserError
from r1jax.presets.distill import ON_POLICY, PRESETS
from r1jax.stages import supervised, zero
from r1jax.training.rl.config import RLConfig


def on_policy(config: RLConfig) -> None:
    """Learns from a teacher's word on the student's own samples."""
    if not config.teacher.there:
        raise UserError(
            "--teacher.model: --on-policy learns from a teacher; name its directory (or where it "
            "is served, --teacher.endpoint.base-url)"
        )
    zero.run(config)


main = supervised.run
COMMAND = Command(
    main,
    PRESETS["qwen-1.5b"],
    PRESETS,
    instead={"--on-policy": Command(on_policy, ON_POLICY["research"], ON_POLICY)},
)

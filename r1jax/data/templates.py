"""Prompt templates: how a question becomes the text the policy continues."""

from __future__ import annotations

from dataclasses import dataclass

from r1jax.problem import Problem


@dataclass(frozen=True)
class Template:
    """Text around a question; `text` holds `{question}` once and ends where the model goes on."""

    name: str
    text: str

    def fill(self, question: str) -> str:
        """The prompt for `question`. Braces inside the question are left alone."""
        return self.text.replace("{question}", question)


# Table 1 of DeepSeek-R1 (2501.12948) byte for byte: only its word `prompt` is replaced, the full
# stop after it is the paper's, and nothing is prefilled after "Assistant:".
R1_ZERO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves "
    "it. The assistant first thinks about the reasoning process in the mind and then provides the "
    "user with the answer. The reasoning process and answer are enclosed within <think> </think> "
    "and <answer> </answer> tags, respectively, i.e., <think> reasoning process here </think> "
    "<answer> answer here </answer>. User: {question}. Assistant:"
)

TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in (
        Template("r1_zero", R1_ZERO),
        Template(
            "tags",
            "Think in <think> </think>, then answer in <answer> </answer>.\n"
            "User: {question}\nAssistant:",
        ),
        Template("mini", "User: {question}\nAssistant:"),
        Template("qa", "Question: {question}\nAnswer:"),
        Template("plain", "{question}\n"),
    )
}


def render(template: Template, problem: Problem) -> str:
    """The prompt text of `problem` under `template`."""
    return template.fill(problem.question)

"""The dense students of the paper (section 2.4): which base each is, and its learning rate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Student:
    """One of the paper's: which base it is, and its first learning rate (supplement, B.4.3)."""

    base: str
    lr: float


STUDENTS: dict[str, Student] = {
    "qwen-1.5b": Student("Qwen/Qwen2.5-Math-1.5B", 1e-4),
    "qwen-7b": Student("Qwen/Qwen2.5-Math-7B", 8e-5),
    "qwen-14b": Student("Qwen/Qwen2.5-14B", 7e-5),
    "qwen-32b": Student("Qwen/Qwen2.5-32B", 6e-5),
    "llama-8b": Student("meta-llama/Llama-3.1-8B", 5e-5),
    "llama-70b": Student("meta-llama/Llama-3.3-70B-Instruct", 2e-5),
}

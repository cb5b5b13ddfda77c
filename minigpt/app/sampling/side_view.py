"""What the columns side by side say of their texts: figures, tips, sentences, and what a visitor takes along."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from minigpt.app.components.token_strip import StripToken, top_candidates
from minigpt.app.sampling.side_rules import Rule
from minigpt.app.sampling.side_texts import (
    NUM_SEEDS,
    PAIR,
    PIECE,
    Column,
    NextToken,
    first_difference,
    text_of,
)
from minigpt.app.texts import number as written_number
from minigpt.app.texts import plain, probability, quoted, t
from minigpt.runs.folder import RunFolder

if TYPE_CHECKING:
    from minigpt.data.generators import Verdict


def longest_bar(choices: Sequence[NextToken]) -> float:
    """Return the end of the axis of all bars; a rule that leaves one token does not count."""
    before = [bar.before for choice in choices for bar in choice.bars]
    after = [bar.after for choice in choices for bar in choice.bars if choice.num_left > 1]
    return max(before + after)


def mark_of(columns: Sequence[Column], number: int) -> int | None:
    """Return the token of a column to frame: the first that differs between columns, None if the column is shorter."""
    part = first_difference(columns)
    return part if part is not None and part < len(columns[number].tokens) else None


def fingerprint(columns: Sequence[Column]) -> str:
    """Return a short text that differs if the texts of the columns do."""
    import hashlib

    texts = [(column.prompt, [token.token_id for token in column.tokens]) for column in columns]
    return hashlib.blake2b(repr(texts).encode(), digest_size=8).hexdigest()


def verdict_on(column: Column, path: Path) -> Verdict:
    """Return what the referee of the run's text says about a column's text; nothing if its text has none.

    Args:
        column: The column; its prompt is judged with it, since its last item may begin there.
        path: The run's folder.
    """
    generator = RunFolder(path).generator
    if generator is None or generator.referee is None:
        return ()
    return generator.referee(text_of(column))


def figures(column: Column, verdict: Verdict = (), copied: float | None = None) -> str:
    """Return the figures under a column.

    Args:
        column: The column.
        verdict: What the referee of the run's text says.
        copied: The share of its text that also stands in the training text; None: not known.
    """
    result = [
        t("sampling.surprise", bits=f"{column.mean_surprise():.2f}"),
        t("sampling.entropy", bits=f"{column.entropy:.2f}", left=f"{column.entropy_left:.2f}"),
        t("sampling.distinct", share=probability(column.distinct_share(PAIR)), length=PAIR),
        t("sampling.repeated", share=probability(1 - column.distinct_share()), length=PIECE),
        *([] if copied is None else [t("sampling.copied", share=probability(copied))]),
        t("sampling.speed", rate=written_number(round(column.speed))),
        *(
            t(
                "sampling.right",
                right=written_number(count.right),
                total=written_number(count.total),
                what=t(f"frame.item_{count.what}"),
            )
            for count in verdict
        ),
    ]
    if column.stop_reason == "eos":
        result.append(t("sampling.ended"))
    return "  \n".join(result)  # one figure a line, so that those of all columns stand side by side


def choice_sentence(choice: NextToken) -> str:
    """Return which token the random number selected, and among how many."""
    token = quoted(choice.chosen.text)
    if choice.num_left == 1:
        return t("sampling.lands_one", token=token)
    return t("sampling.lands", u=f"{choice.u:.2f}", token=token, left=choice.num_left)


def bars_alt(column: Column, choice: NextToken, position: int) -> str:
    """Return a text alternative for the bars."""
    token, share = quoted(choice.chosen.text), probability(choice.chosen.after)
    return plain(t("sampling.bars_alt", name=column.rule.name(), number=position + 1, token=token, share=share))


def dice_alt(column: Column, choice: NextToken) -> str:
    """Return a text alternative for the cumulative bar."""
    token = quoted(choice.chosen.text)
    return plain(t("sampling.dice_alt", name=column.rule.name(), u=f"{choice.u:.2f}", token=token))


def choice_note(columns: Sequence[Column], position: int) -> str:
    """Return a note that says whether all columns have the same text before a position."""
    part = first_difference(columns)
    return t("sampling.choice_same") if part is None or position <= part else t("sampling.choice_own", number=part + 2)


def strip_tokens(column: Column) -> list[StripToken]:
    """Return a column's text for drawing, with the numbers in its tips."""
    return [
        StripToken(
            text=token.text,
            bits=-math.log2(token.model_probability),
            values=(
                probability(token.model_probability),
                probability(token.probability),
                f"{-math.log2(token.model_probability):.2f}",
                f"{token.u:.3f}",
            ),
            top=top_candidates(token.runners_up),
        )
        for token in column.tokens
    ]


def sentences(columns: Sequence[Column], choices: Sequence[NextToken], position: int) -> list[str]:
    """Return the sentences of "What you see", which quote the numbers on screen."""
    part = first_difference(columns)
    result = []
    if part is None:
        result.append(t("sampling.see_same", count=len(columns[0].tokens)))
    else:
        result.append(t("sampling.see_part", number=f"**{part + 1}**"))
    result.append(
        t(
            "sampling.see_dice",
            number=position + 1,
            u=f"**{choices[0].u:.2f}**",
            landings=", ".join(
                t("sampling.landing", name=column.rule.name(), token=quoted(choice.chosen.text))
                for column, choice in zip(columns, choices, strict=True)
            ),
        )
    )
    pairs = [(choice.num_left, column.rule.name()) for column, choice in zip(columns, choices, strict=True)]
    few, many = min(pairs), max(pairs)
    if few[0] < many[0]:
        result.append(t("sampling.see_left", tight=few[1], few=few[0], wide=many[1], many=many[0]))
    dull = min(columns, key=lambda column: column.distinct_share())
    lively = max(columns, key=lambda column: column.distinct_share())
    if dull.distinct_share() < lively.distinct_share():
        result.append(
            t(
                "sampling.see_distinct",
                dull=dull.rule.name(),
                low=f"**{probability(dull.distinct_share())}**",
                lively=lively.rule.name(),
                high=f"**{probability(lively.distinct_share())}**",
                piece=PIECE,
            )
        )
    return result


def seeds_sentence(found: dict[str, list[list[float]]], rules: Sequence[Rule]) -> str:
    """Return what the summary of many draws says: the rule that repeats least and the one that repeats most."""
    repeated = [median(column) for column in found["repeated"]]
    low, high = min(repeated), max(repeated)
    if low == high:
        return t("sampling.seeds_same", count=NUM_SEEDS, share=probability(low))
    return t(
        "sampling.seeds_sentence",
        count=NUM_SEEDS,
        least=rules[repeated.index(low)].name(),
        low=probability(low),
        most=rules[repeated.index(high)].name(),
        high=probability(high),
    )


def seeds_alt(values: Sequence[Sequence[float]], names: Sequence[str], title: str) -> str:
    """Return a text alternative for one figure of many draws: the median of each rule."""
    medians = "; ".join(f"{name}: {median(column):.2f}" for name, column in zip(names, values, strict=True))
    return plain(t("sampling.seeds_alt", title=title, count=NUM_SEEDS, medians=medians))


def command_line(run_id: str, rule: Rule, prompt: str, length: int, seed: int) -> str:
    """Return the command that writes a column's text."""
    options = {"prompt": prompt, "sampler": rule.spec, "max-new-tokens": length, "seed": seed}
    if rule.own.path:
        options["sampler-file"] = rule.own.path
    return shlex.join(["minigpt", "generate", run_id, *(f"--{name}={value}" for name, value in options.items())])


def python_lines(run_id: str, rule: Rule, prompt: str, length: int, seed: int) -> str:
    """Return the lines of Python that write a column's text."""
    own = rule.own.path
    needed = "from minigpt.generation.own_rules import load_rules\n" if own else ""
    sampler = f"parse_sampler({rule.spec!r}, load_rules({own!r}))" if own else f"parse_sampler({rule.spec!r})"
    return (
        "from minigpt import TextGenerator, load_run\n"
        f"from minigpt.generation import parse_sampler\n{needed}\n"
        f"generator = TextGenerator(load_run({run_id!r}))\n"
        f"result = generator.generate({prompt!r}, sampler={sampler}, "
        f"max_new_tokens={length}, seed={seed})\n"
        "print(result.text)"
    )


def export(columns: Sequence[Column], run_id: str, prompt: str, length: int, seed: int) -> str:
    """Return all columns as one text: what each rule wrote, its figures, and the command that writes it again."""
    return "\n".join(_exported(columns, run_id, prompt, length, seed))


def _exported(columns: Sequence[Column], run_id: str, prompt: str, length: int, seed: int) -> Iterator[str]:
    yield t("sampling.export_head", run=run_id, seed=seed, count=length)
    part = first_difference(columns)
    if part is None:
        yield t("sampling.see_same", count=len(columns[0].tokens))
    else:
        yield t("sampling.see_part", number=part + 1)
    for place, column in enumerate(columns):
        yield f"\n=== {place + 1}. {column.rule.name()} ==="
        yield command_line(run_id, column.rule, prompt, length, seed)
        yield plain(figures(column)).replace("\xa0", " ")
        yield f"\n{text_of(column)}"

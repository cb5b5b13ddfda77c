"""Predicted and measured seconds of one weight update, for random configurations.

    python benchmarks/step_cost.py --num-configs 12 --seed 0

The constants of `minigpt.runs.step_cost` are measured first, from its own short trainings; none of the random
configurations is among them. Then each configuration is predicted and tried. Goal: a median error under 20 %. With
`--seconds` each is tried for longer, which helps on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics

GOAL = 0.20


def random_settings(chance: random.Random) -> tuple[dict[str, object], int]:
    """Return random settings of a model and its training, and a size of the vocabulary."""
    heads = chance.choice([1, 2, 4, 8])
    settings: dict[str, object] = {
        "model.num_layers": chance.randint(1, 6),
        "model.num_heads": heads,
        "model.num_kv_heads": chance.choice([heads, 1]),
        "model.d_model": heads * chance.choice([8, 16, 24, 32]),
        "model.d_ff": chance.choice([None, None, 0, 64]),
        "model.sequence_length": chance.choice([16, 32, 64, 96, 128]),
        "model.positions": chance.choice(["learned", "sinusoidal", "rotary", "alibi", "none"]),
        "model.norm": chance.choice(["rmsnorm", "layernorm"]),
        "model.norm_position": chance.choice(["pre", "post"]),
        "model.activation": chance.choice(["gelu", "relu2", "swiglu"]),
        "model.tie_embeddings": chance.random() < 0.5,
        "training.batch_size": chance.choice([4, 8, 16, 32]),
    }
    return settings, chance.choice([30, 64, 256, 1000])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-configs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each configuration is tried")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    import torch

    from minigpt.config import RunConfig
    from minigpt.model.size import count_parameters
    from minigpt.runs.step_cost import KINDS, measure_constants, measure_step

    torch.set_num_threads(1)  # as the app's compute gate measures, and as its runs train
    constants = measure_constants()
    chance, errors, rows = random.Random(arguments.seed), [], []
    for _ in range(arguments.num_configs):
        settings, vocab_size = random_settings(chance)
        config = RunConfig().updated(settings)
        predicted = constants.predict(config, vocab_size)
        measured = measure_step(config, vocab_size, seconds=arguments.seconds)
        errors.append(abs(predicted - measured) / measured)
        parameters = count_parameters(config.model, vocab_size).total
        model = config.model
        rows.append(
            {
                "layers": model.num_layers, "heads": model.num_heads, "width": model.d_model,
                "context": model.sequence_length, "batch": config.training.batch_size, "parameters": parameters,
                "predicted_ms": round(1e3 * predicted, 2), "measured_ms": round(1e3 * measured, 2),
                "error": round(errors[-1], 3),
            }
        )  # fmt: skip
        if not arguments.json:
            print("  ".join(f"{name} {value:>9}" for name, value in rows[-1].items()))
    median = statistics.median(errors)
    if arguments.json:
        print(
            json.dumps({"constants": dict(zip(KINDS, constants.seconds, strict=True)), "rows": rows, "median": median})
        )
        return
    print(
        "seconds per unit:",
        ", ".join(f"{kind} {value:.2g}" for kind, value in zip(KINDS, constants.seconds, strict=True)),
    )
    print(f"median error {median:.1%}, goal under {GOAL:.0%}: {'met' if median < GOAL else 'missed'}")


if __name__ == "__main__":
    main()

"""The shipped results show what they are meant to show; `tests/tools` checks that they can be made again."""

from minigpt.runs.experiments import shipped_mask_experiment


def test_the_shipped_result_shows_that_the_loss_collapses_without_the_mask():
    shipped = shipped_mask_experiment()
    assert shipped.unmasked.val_losses[-1][1] < 0.2
    assert shipped.masked.val_losses[-1][1] > 1
    assert len(shipped.masked.losses) == shipped.settings["training"]["max_steps"]

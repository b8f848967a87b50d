"""Finish a run for its readers: print the summary, write the card, push if asked to."""

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.config.run_config import RunConfig
from hf_transfer.machine.launcher import is_main_process
from hf_transfer.runs.hub.push import push


def publish(config: RunConfig, *, quiet: bool = False) -> None:
    """Print a finished run's summary, write its card, and push it if the settings say where.

    Args:
        config: Of the run.
        quiet: Print nothing.

    Raises:
        HubError: If the push failed; the run and its card are complete, and the message says how to go on.
    """
    if not is_main_process():
        return
    from hf_transfer.report.card.card import write_card
    from hf_transfer.runs.results import read_results
    from hf_transfer.runs.summary import summary_text

    run = config.output_dir
    say = (lambda _: None) if quiet else print
    say(summary_text(read_results(run)))
    say(f"\nThe card: {write_card(run)}")
    if config.push_to_hub is not None:
        say(f"Published: {push(run, config.push_to_hub, private=config.private)}")

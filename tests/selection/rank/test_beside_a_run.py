"""`rank` into the folder of a run: the run's card tells of it."""

import json

from small_runs import make_run

from hf_transfer.cli.main import main


def test_the_card_of_the_run_is_written_again(tmp_path, capsys):
    run = make_run("pictures", tmp_path, card=True, final="none")
    before = (run / "README.md").read_text()
    words = ["builtin:digits_5to9", "builtin:digits-resnet", "--max_rows", "40", "--num_folds", "2"]
    assert main(["rank", *words, "--output_dir", str(run), "--json"]) == 0
    ranked = json.loads(capsys.readouterr().out)
    card = (run / "README.md").read_text()
    assert ranked["candidates"][0]["name"] in card
    assert card != before

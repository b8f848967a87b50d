from hf_transfer.report.plots.shares import share_curve
from hf_transfer.runs.scored_record import ScoredRows, SharePoint

PLACES = {0.0: (0.8, 0.9), 0.25: (0.82, 0.95), 0.5: (0.81, 0.97), 0.75: (0.81, 0.95), 1.0: (0.81, 0.97)}


def record() -> ScoredRows:
    points = [
        SharePoint(share=share, value=y, interval=None, cross_validated=x, published=share == 0.5)
        for share, (x, y) in PLACES.items()
    ]
    return ScoredRows(
        kit_version="0",
        name="others",
        split="train",
        fingerprint="0",
        num_rows=40,
        num_seen=None,
        class_counts={},
        primary_metric="accuracy",
        unit="row",
        scores={},
        per_class=[],
        confusion=None,
        sha256=None,
        wise_curve=points,
    )


def test_shares_at_one_place_have_one_label_and_the_published_one_lies_on_top() -> None:
    figure = share_curve(record())
    assert figure is not None
    axes = figure.axes[0]
    labels = {text.get_text(): text.xy for text in axes.texts}
    assert labels == {
        "0": PLACES[0],
        "0.25": PLACES[0.25],
        "0.75": PLACES[0.75],
        "1; 0.5, published": PLACES[0.5],
    }
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert dots[-1].get_xydata().tolist() == [list(PLACES[0.5])]

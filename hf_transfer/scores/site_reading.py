"""What was found of the site of rows: whether features tell it, and whether labels go with it."""

from dataclasses import dataclass

from hf_transfer import _guard  # noqa: F401

_LEVEL = 0.05
_CHANCE = 0.5  # the area that a coin has; of a few rows it may come with a small p
_GOES_WITH = 0.1  # of Cramér's V; what textbooks call a small effect


@dataclass(frozen=True, kw_only=True)
class SiteReading:
    """A linear model of the features that predicts the site, under the folds of the run.

    Attributes:
        column: Where sites were read; their names are not kept.
        num_sites: How many there are.
        auc: One site against the rest, averaged over sites and folds; None without stored features.
        within: The same among rows of one label: a site that only goes with the label is not told there.
        p: Share of sites shuffled among rows of one label that are told as well, those of a group together;
            among all rows where each label is of one site.
        goes_with: Cramér's V of site and label, corrected for chance; of label sets, of the label with most.
        label: That label, where rows have several.
    """

    column: str
    num_sites: int
    auc: float | None
    within: float | None
    p: float | None
    goes_with: float
    label: str | None = None

    @property
    def told(self) -> bool:
        """Whether the features tell the site by more than the labels do."""
        area = self.auc if self.within is None else self.within
        return area is not None and area > _CHANCE and self.p is not None and self.p <= _LEVEL

    @property
    def alarm(self) -> bool:
        """Whether a model may have learned the site instead of the label."""
        return self.goes_with >= _GOES_WITH and (self.told or self.inseparable)

    @property
    def inseparable(self) -> bool:
        """Whether the rows of each label are of one site, in every fold: then nothing tells the two apart."""
        return self.auc is not None and self.within is None

    @property
    def words(self) -> str:
        """The finding in a sentence or two."""
        of = f" {self.label!r}" if self.label else ""
        together = f"Cramér's V of site and label{of} {self.goes_with:.2f}"
        if self.auc is None or self.p is None:
            return (
                f"Whether the features tell the site ({self.column}) was not tested, as no frozen layer's "
                f"output is stored: --trainable head does. {together}."
            )
        inside = "" if self.within is None else f", {self.within:.2f} among rows of one label"
        found = f"(AUC {self.auc:.2f}{inside}, p {self.p:.2g}; {self.num_sites} sites, column {self.column})"
        if not self.told and not self.alarm:
            return f"The site can't be told from the features by more than the labels say {found}."
        if not self.alarm:
            return (
                f"The site can be told from the features {found}, but labels hardly go with it ({together})."
            )
        if self.inseparable:
            return (
                f"The rows of each label are of one site {found}, so that nothing tells whether a model "
                "learns the label or the site. Add rows of each label from each site."
            )
        return (
            f"The site can be told from the features {found}, and labels go with it ({together}): is the "
            f"label a site in disguise? --group_by {self.column} scores sites that no model has seen."
        )

"""The sections of params.yaml that the report reads: all that decide what is in the data."""

from darkroom.core.params.augment import AugmentParams
from darkroom.core.params.clean import CleanParams
from darkroom.core.params.dedupe import DedupeParams
from darkroom.core.params.embed import EmbedParams
from darkroom.core.params.evaluate import EvaluateParams
from darkroom.core.params.section import StageParams
from darkroom.core.params.split import SplitParams
from darkroom.core.params.train import TrainParams


class ReportParams(StageParams):
    """The page prints them, and reads some."""

    seed: int
    clean: CleanParams
    embed: EmbedParams
    dedupe: DedupeParams
    split: SplitParams
    augment: AugmentParams
    train: TrainParams
    evaluate: EvaluateParams

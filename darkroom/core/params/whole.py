"""The whole of params.yaml: every section, and what has to fit between them."""

from pydantic import model_validator

from darkroom.core.params.augment import AugmentParams
from darkroom.core.params.clean import CleanParams
from darkroom.core.params.dedupe import DedupeParams
from darkroom.core.params.download import DownloadParams
from darkroom.core.params.embed import EmbedParams
from darkroom.core.params.engine import EngineParams
from darkroom.core.params.evaluate import EvaluateParams
from darkroom.core.params.section import Section
from darkroom.core.params.split import SplitParams
from darkroom.core.params.train import TrainParams


class Params(Section):
    """All sections, in the file's order."""

    seed: int
    engine: EngineParams
    download: DownloadParams
    clean: CleanParams
    embed: EmbedParams
    dedupe: DedupeParams
    split: SplitParams
    augment: AugmentParams
    train: TrainParams
    evaluate: EvaluateParams

    @model_validator(mode="after")
    def _cutoff_divides_the_scale(self) -> "Params":
        scale, cutoff = self.train.scale, self.evaluate.cutoff
        if self.train.task == "rating" and not scale.low <= cutoff < scale.high:
            raise ValueError(
                f"evaluate.cutoff: expected a score of train.scale, from {scale.low:g} to below"
                f" {scale.high:g}; got {cutoff:g}; set it to the mean score above which an image is"
                " good"
            )
        return self

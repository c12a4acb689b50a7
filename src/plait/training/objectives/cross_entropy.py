"""The cross-entropy of the method's logits, which is what a study trains by that says nothing else."""

from dataclasses import replace

from torch import Tensor

from plait.training.objectives.base import Objective, Step, share


class CrossEntropy(Objective):
    """The cross-entropy of the method's logits alone, whatever those before it in the row say.

    Args:
        label_smoothing: share of the target that is spread over all activities; by default the study's
            `train.label_smoothing`.

    Raises:
        ConfigError: it is no share.
    """

    def __init__(self, label_smoothing: float | None = None) -> None:
        super().__init__()
        self.smoothing = None if label_smoothing is None else share(label_smoothing, "label_smoothing")

    def loss(self, step: Step, loss: Tensor) -> Tensor:
        """The cross-entropy."""
        if self.smoothing is None:
            return step.cross_entropy(step.outputs["logits"])
        return replace(step, smoothing=self.smoothing).cross_entropy(step.outputs["logits"])

"""Video transformers of Hugging Face as encoders: patch tokens back to a grid."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from einops import rearrange
from jaxtyping import Float
from pydantic import BaseModel, Field, ValidationError
from torch import Tensor, nn

from plait.encoders.standard import middle
from plait.encoders.video3d import check_rgb
from plait.errors import ConfigError, DataError, first_fault

LEVELS = 255.0  # of a colour that [0, 1] stands for
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TokenGrid(nn.Module):
    """VideoMAE or V-JEPA 2 on RGB clips in [-1, 1], to the grid `(t, h, w, channels)` of its patches.

    The short side of frames is resized to the side that the model was made for, the middle kept; frames are
    taken evenly where a clip has another number of them.

    Args:
        model: a model of `transformers` whose `config` has `patch_size` and `tubelet_size`.
        shape: a clip's shape, `(frames, height, width, 3)`.
        mean, std: of each colour in [0, 1], as the model was trained; by default ImageNet's.

    Raises:
        ConfigError: the model's configuration says nothing of patches.
        ShapeError: `shape` is no RGB video.
    """

    black_and_white = (-1.0, 1.0)  # the clips' values that are so

    def __init__(
        self,
        model: nn.Module,
        shape: tuple[int, ...],
        *,
        mean: Sequence[float] = IMAGENET[0],
        std: Sequence[float] = IMAGENET[1],
    ) -> None:
        super().__init__()
        check_rgb(shape, "video transformer")
        config: Any = model.config
        try:
            self.side = int(getattr(config, "crop_size", None) or config.image_size)
            self.frames = int(getattr(config, "frames_per_clip", None) or config.num_frames)
            self.patch, self.tubelet = int(config.patch_size), int(config.tubelet_size)
        except (AttributeError, TypeError) as error:
            kind = getattr(config, "model_type", type(model).__name__)
            raise ConfigError(f"video transformer: {kind} is no VideoMAE or V-JEPA 2") from error
        self.model = model
        self.jepa = getattr(config, "model_type", "") == "vjepa2"
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)

    def forward(self, clips: Float[Tensor, "b frames height width 3"]) -> Float[Tensor, "b t h w c"]:
        """The grid of each clip."""
        frames = torch.linspace(0, clips.shape[1] - 1, self.frames).round().long()
        colours = ((clips[:, frames] + 1) / 2 - self.mean) / self.std
        images = middle(rearrange(colours, "b t h w c -> (b t) c h w"), self.side)
        video = rearrange(images, "(b t) c h w -> b t c h w", b=clips.shape[0])
        out = self.model(video, skip_predictor=True) if self.jepa else self.model(video)
        side = self.side // self.patch
        grid: Tensor = rearrange(out.last_hidden_state, "b (t h w) c -> b t h w c", h=side, w=side)
        return grid


class Preprocessor(BaseModel):
    """What Hugging Face's `preprocessor_config.json` says of colours; of what it leaves out, the defaults.

    Args:
        do_rescale, rescale_factor: whether levels, 0 to 255, are multiplied, and by what.
        do_normalize: whether `image_mean` is taken off what they are then, and divided by `image_std`.
        image_mean, image_std: of each colour.
    """

    do_rescale: bool = True
    rescale_factor: Positive = 1 / LEVELS
    do_normalize: bool = True
    image_mean: tuple[Finite, Finite, Finite] = IMAGENET[0]
    image_std: tuple[Positive, Positive, Positive] = IMAGENET[1]

    @property
    def of_unit(self) -> dict[str, list[float]]:
        """`TokenGrid`'s `mean` and `std`, which are of colours in [0, 1]."""
        scale = LEVELS * self.rescale_factor if self.do_rescale else LEVELS
        mean, std = (self.image_mean, self.image_std) if self.do_normalize else ((0.0,) * 3, (1.0,) * 3)
        return {"mean": [value / scale for value in mean], "std": [value / scale for value in std]}


def read_preprocessor(file: Path) -> Preprocessor:
    """What a preprocessor's file says.

    Raises:
        DataError: it cannot be read, or says something else.
    """
    try:
        return Preprocessor.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise DataError(f"{file}: {first_fault(error)}, expected a preprocessor's settings") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read, expected a preprocessor's settings") from error

"""The plain pre-training step: what `Pretraining` must equal, written without any sharing.

Every text is padded to 40, an image is encoded again for each of its concepts, keys and values are
projected for every pair, negative and masked copy, and attention is eager.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from x2vlm import losses
from x2vlm.model.x2vlm import X2VLM
from x2vlm.tasks.pretraining import Negatives, Regions, Texts

LENGTH = 40


def padded(texts: Texts, padding: int) -> Texts:
    """The same texts, padded to 40 tokens."""
    more = LENGTH - texts.text_BL.shape[1]
    return Texts(
        F.pad(texts.text_BL, (0, more), value=padding),
        F.pad(texts.mask_BL, (0, more)),
        F.pad(texts.hidden_BL, (0, more), value=padding),
        texts.positions_BM,
        texts.targets_BM,
    )


def image_losses(
    model: X2VLM, image_BCHW: Tensor, texts: Texts, negatives: Negatives
) -> dict[str, Tensor]:
    """Contrastive, matching and MLM, each with a memory of its own."""
    with sdpa_kernel([SDPBackend.MATH]):
        image_BVD = model.encode_image(image_BCHW)
        seen_BV = torch.ones(image_BVD.shape[:2], dtype=torch.bool, device=image_BVD.device)
        return _align(model, image_BVD, seen_BV, texts, negatives)


def region_losses(
    model: X2VLM, image_GCHW: Tensor, regions: Regions, texts: Texts, negatives: Negatives
) -> dict[str, Tensor]:
    """The same for concepts, and their boxes."""
    with sdpa_kernel([SDPBackend.MATH]):
        image_BVD = model.encode_image(image_GCHW[regions.rows_B])
        weight_BV = regions.patches_BV[:, 1:].to(image_BVD.dtype)[..., None]
        mean_B1D = (image_BVD[:, 1:] * weight_BV).sum(1, keepdim=True) / weight_BV.sum(
            1, keepdim=True
        )
        region_BVD = torch.cat([mean_B1D, image_BVD[:, 1:]], 1)
        found = _align(model, region_BVD, regions.patches_BV, texts, negatives)
        texts = padded(texts, model.config.text.padding)
        text_BLD = model.encode_text(texts.text_BL, texts.mask_BL)
        fused_BLD = model.fuse(text_BLD, texts.mask_BL, model.memory(image_BVD))
        return found | losses.box(model.box(fused_BLD), regions.box_B4, regions.is_box_B)


def _align(
    model: X2VLM, image_BVD: Tensor, seen_BV: Tensor, texts: Texts, negatives: Negatives
) -> dict[str, Tensor]:
    texts = padded(texts, model.config.text.padding)
    text_BLD = model.encode_text(texts.text_BL, texts.mask_BL)
    features = model.image_feature(image_BVD), model.text_feature(text_BLD)
    image_B, text_B = negatives

    def fuse(text: Tensor, mask: Tensor, image: Tensor, seen: Tensor) -> Tensor:
        return model.fuse(text, mask, model.memory(image, seen))

    pairs = [
        fuse(text_BLD, texts.mask_BL, image_BVD, seen_BV),
        fuse(text_BLD, texts.mask_BL, image_BVD[image_B], seen_BV[image_B]),
        fuse(text_BLD[text_B], texts.mask_BL[text_B], image_BVD, seen_BV),
    ]
    hidden_BLD = model.encode_text(texts.hidden_BL, texts.mask_BL)
    fused_BLD = fuse(hidden_BLD, texts.mask_BL, image_BVD, seen_BV)
    rows_B1 = torch.arange(len(fused_BLD), device=fused_BLD.device)[:, None]
    logits_BMW = model.mlm(fused_BLD)[rows_B1, texts.positions_BM]
    target = torch.arange(3 * len(image_B), device=image_B.device) < len(image_B)
    return {
        "contrastive": losses.contrastive(*features, model.temperature),
        "matching": F.cross_entropy(model.match(torch.cat(pairs)).float(), target.long()),
        "mlm": F.cross_entropy(logits_BMW.flatten(0, 1).float(), texts.targets_BM.flatten()),
    }

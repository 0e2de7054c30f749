"""Ranking a list of candidate answers by the decoder's probability, shared prefixes once.

The candidates form a prefix tree. Per question only the nodes that its k candidates need are
computed, each once, packed over all questions of a batch without padding; a token attends to its
ancestors in the tree, so nothing is masked, and a full list (k = all) costs no more memory than
its nodes. Question keys and values are projected once and shared by all nodes.

Axes: B questions, C candidates, A tokens of the longest, M nodes of the tree, T nodes of all
questions one after another, K kept candidates, L tokens of a question, D width, N heads, U width
of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from x2vlm.errors import ConfigError
from x2vlm.tasks.features import tokens_per_pass
from x2vlm.tasks.packed import finish, layers_of, look_and_feed

if TYPE_CHECKING:
    from x2vlm.model.decoder import AnswerDecoder
    from x2vlm.model.layers import Attention, Memory

Rule = Literal["official", "chain"]
ROWS = 512
"""tokens whose vocabulary logits are in memory at a time"""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Candidate answers as a prefix tree, nodes in order of depth; node 0 is [CLS] alone.

    text_CA, mask_CA: token ids [CLS] answer [SEP]. token_M, depth_M: last token of each prefix and
    its position. ancestor_MA: the prefixes of each node by depth, itself included; -1 beyond.
    node_CA: the node after each token of a candidate but its last; -1 beyond.
    embedded_MD: the nodes after the first layer's self-attention, which no question has a part in.
    """

    text_CA: Tensor
    mask_CA: Tensor
    token_M: Tensor
    depth_M: Tensor
    ancestor_MA: Tensor
    node_CA: Tensor
    embedded_MD: Tensor

    def __len__(self) -> int:
        return len(self.text_CA)


def prepare(decoder: AnswerDecoder, text_CA: Tensor, mask_CA: Tensor) -> Candidates:
    """The tree of candidates (right-padded), and what of it can be computed ahead.

    ConfigError when a candidate has no token between its first and last.
    """
    lengths = mask_CA.long().sum(1).tolist()
    if not lengths or min(lengths) < 2:
        raise ConfigError("candidate answers must not be empty")
    prefixes = sorted(
        {tuple(row[:end]) for row, n in zip(text_CA.tolist(), lengths, strict=True)
         for end in range(1, n)}, key=lambda prefix: (len(prefix), prefix))  # fmt: skip
    if len({prefix for prefix in prefixes if len(prefix) == 1}) > 1:
        raise ConfigError("candidate answers must all begin with the same special token")
    number = {prefix: node for node, prefix in enumerate(prefixes)}
    deepest = len(prefixes[-1])
    device = next(decoder.parameters()).device
    ancestors = [
        [number[p[: end + 1]] if end < len(p) else -1 for end in range(deepest)] for p in prefixes
    ]
    nodes = [
        [number[tuple(row[: end + 1])] if end < n - 1 else -1 for end in range(deepest)]
        for row, n in zip(text_CA.tolist(), lengths, strict=True)
    ]
    token_M = torch.tensor([prefix[-1] for prefix in prefixes], device=device)
    depth_M = torch.tensor([len(prefix) - 1 for prefix in prefixes], device=device)
    ancestor_MA = torch.tensor(ancestors, device=device)
    embedded_MD = decoder.embeddings(token_M[None], depth_M[None])[0]
    levels = list(_levels(depth_M, ancestor_MA))
    embedded_MD = tree_attention(layers_of(decoder)[0].attention, embedded_MD, levels)
    text_CA, mask_CA = text_CA.to(device), mask_CA.to(device).bool()
    node_CA = torch.tensor(nodes, device=device)
    return Candidates(text_CA, mask_CA, token_M, depth_M, ancestor_MA, node_CA, embedded_MD)


def rank_answers(
    decoder: AnswerDecoder,
    states_BLD: Tensor,
    mask_BL: Tensor,
    candidates: Candidates,
    k: int | None = None,
    rule: Rule = "official",
) -> tuple[Tensor, Tensor]:
    """The k best candidates of each question: (index_BK, probability_BK), the best first.

    The k candidates with the likeliest first token are scored; k=None scores all. rule: "official"
    counts the log-probability of the first token twice (docs/model.md, P4), "chain" once.
    Probabilities are a softmax over the k scores.
    """
    memory = decoder.memory(states_BLD, mask_BL)
    first_BV = _root_log_probabilities(decoder, memory, candidates)
    first_BC = first_BV.index_select(1, candidates.text_CA[:, 1])
    # Probabilities, not their logarithms, so that ties are the official ones.
    chosen_BK = first_BC.exp().topk(min(k or len(candidates), len(candidates)), dim=1).indices
    # Nodes beyond what suits the device would only wait for memory.
    nodes = max(1, chosen_BK.shape[1] * len(candidates.token_M) // len(candidates))
    at_once = max(1, tokens_per_pass(chosen_BK.device) // nodes)
    question_B = torch.arange(len(chosen_BK), device=chosen_BK.device)
    score_BK = torch.cat([
        _score(decoder, memory.select(rows_R), candidates, chosen_BK[rows_R])
        for rows_R in torch.split(question_B, at_once)
    ])  # fmt: skip
    if rule == "official":
        score_BK = score_BK + first_BC.gather(1, chosen_BK)
    best = score_BK.softmax(-1).topk(score_BK.shape[1], dim=1)
    return chosen_BK.gather(1, best.indices), best.values


def _root_log_probabilities(
    decoder: AnswerDecoder, memory: Memory, candidates: Candidates
) -> Tensor:
    """Log-probability of each first token, (B, vocabulary)."""
    start_B1 = candidates.text_CA[0, :1].expand(len(memory), 1)
    states = decoder.states(start_B1, torch.ones_like(start_B1), memory)
    return decoder.logits(states[:, 0]).float().log_softmax(-1)


def _score(
    decoder: AnswerDecoder, memory: Memory, candidates: Candidates, chosen_BK: Tensor
) -> Tensor:
    """Log-probability of each chosen candidate, its end included, (B, K)."""
    node_BKA = candidates.node_CA[chosen_BK]
    used_BKA = node_BKA >= 0
    # One number per (question, node), so that shared prefixes fall together; the root is in all.
    question_B = torch.arange(len(chosen_BK), device=chosen_BK.device)
    tag_BKA = node_BKA + question_B[:, None, None] * len(candidates.token_M)
    tag_T, place_E = torch.unique(tag_BKA[used_BKA], return_inverse=True)
    states_TD = _tree_states(decoder, memory, candidates, tag_T)
    # Each used token of a candidate predicts the token after it: one edge of the tree.
    target_E = candidates.text_CA[:, 1:][chosen_BK][..., : node_BKA.shape[2]][used_BKA]
    gain_E = _log_probability(decoder, states_TD, place_E, target_E)
    gain_BKA = torch.zeros(used_BKA.shape, device=gain_E.device)
    gain_BKA[used_BKA] = gain_E
    return gain_BKA.sum(-1)


def _tree_states(
    decoder: AnswerDecoder, memory: Memory, candidates: Candidates, tag_T: Tensor
) -> Tensor:
    """Decoder states of (question, node) pairs in order of question, then of depth: (T, D)."""
    size = len(candidates.token_M)
    node_T, question_T = tag_T % size, tag_T // size
    ancestor_TA = candidates.ancestor_MA[node_T]
    place_TA = torch.searchsorted(tag_T, ancestor_TA.clamp(min=0) + question_T[:, None] * size)
    levels = list(_levels(candidates.depth_M[node_T], place_TA))
    counts = torch.bincount(question_T, minlength=len(memory)).tolist()
    x_TD = candidates.embedded_MD[node_T]
    for number, (layer, seen) in enumerate(zip(layers_of(decoder), memory.layers, strict=True)):
        if number > 0:
            x_TD = tree_attention(layer.attention, x_TD, levels)
        x_TD = look_and_feed(layer, x_TD, seen, memory.mask_IS, counts)
    return x_TD


def _levels(depth_T: Tensor, place_TA: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Per depth: which tokens stand there, and the places of their ancestors and of them."""
    for depth in range(int(depth_T.max()) + 1):
        rows_R = (depth_T == depth).nonzero()[:, 0]
        yield rows_R, place_TA[rows_R, : depth + 1]


def tree_attention(
    attention: Attention, x_TD: Tensor, levels: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """Self-attention of every node to its ancestors and itself, (T, D) -> (T, D)."""
    query, key, value = (
        attention.split(part(x_TD)) for part in (attention.query, attention.key, attention.value)
    )
    context_TNU = torch.empty_like(query)
    for rows_R, place_RA in levels:
        mixed = F.scaled_dot_product_attention(
            query[rows_R][:, :, None],
            key[place_RA].transpose(1, 2),
            value[place_RA].transpose(1, 2),
        )
        context_TNU[rows_R] = mixed[:, :, 0]
    return finish(attention, context_TNU.flatten(1), x_TD)


def _log_probability(
    decoder: AnswerDecoder, states_TD: Tensor, place_E: Tensor, target_E: Tensor
) -> Tensor:
    """Log-probability of token target_E[e] after state place_E[e], few rows of logits at a time."""
    order_E = place_E.argsort(stable=True)
    place_E, target_E = place_E[order_E], target_E[order_E]
    edges = torch.split(torch.bincount(place_E, minlength=len(states_TD)), ROWS)
    gains = []
    done = 0
    for start, count_R in zip(range(0, len(states_TD), ROWS), edges, strict=True):
        logits_RV = decoder.logits(states_TD[start : start + ROWS]).float()
        stop = done + int(count_R.sum())
        rows_E = place_E[done:stop] - start
        chosen_E = logits_RV[rows_E, target_E[done:stop]]
        # log-sum-exp in place: the logits are by far the largest tensor here.
        most_R1 = logits_RV.amax(-1, keepdim=True)
        total_R = logits_RV.sub_(most_R1).exp_().sum(-1).log() + most_R1[:, 0]
        gains.append(chosen_E - total_R[rows_E])
        done = stop
    gain_E = torch.empty(len(order_E), device=states_TD.device)
    gain_E[order_E] = torch.cat(gains)
    return gain_E

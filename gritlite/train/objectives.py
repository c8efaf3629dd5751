"""The training objectives: functions from vectors or token losses to a scalar loss.

Pure functions of tensors. Sources: InfoNCE and the two generative losses,
arXiv 2402.09906, section 2 and its ablation of loss types; CoSENT,
kexue.fm/archives/8847, as sentence-transformers computes it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

COSENT_SCALE = 20.0
DISTILLED_DIFFERENCE = 0.2  # of two similarities: what counts as a loss of 1
ALIGNED_DISTANCE = 0.5  # of a vector from its target: what counts as a loss of 1
SAME_TEXT = 0.9999  # a teacher's similarity, from which on an earlier text is the text itself
NO_SHARE = -1e30  # before a softmax; minus infinity times a share of 0 would be no number


def contrastive(queries: Tensor, passages: Tensor, own: Tensor, temperature: float) -> Tensor:
    """InfoNCE: each query against every passage of the batch.

    `queries` [n, d] and `passages` [m, d] are of unit length; `own` is bool
    [n, m], True where the passage is one of the query's positives. A query
    counts once for each of its positives, and its other positives are left out
    of the denominator.
    """
    logits = queries @ passages.T / temperature
    rows, columns = own.nonzero(as_tuple=True)
    others = own[rows].clone()
    others[torch.arange(len(rows)), columns] = False
    return functional.cross_entropy(logits[rows].masked_fill(others, float("-inf")), columns)


def distillation(vectors: Tensor, teacher: Tensor) -> Tensor:
    """The mean squared difference between our similarities within the batch and the teacher's.

    `vectors` [n, d] and `teacher` [n, e] are of unit length; a pair i < j counts
    ((s - t) / DISTILLED_DIFFERENCE)^2.
    """
    i, j = torch.triu_indices(len(vectors), len(vectors), offset=1, device=vectors.device)
    differences = (vectors @ vectors.T - teacher @ teacher.T)[i, j]
    return (differences / DISTILLED_DIFFERENCE).square().mean()


def listwise(
    vectors: Tensor, teacher: Tensor, temperature: float, earlier: tuple[Tensor, Tensor]
) -> Tensor:
    """The divergence, in nats, of our similarities to other texts from the teacher's.

    `vectors` [n, d] and `teacher` [n, e] are of unit length; `earlier` are such vectors, [m, d] and
    [m, e], of texts that came before. A text's similarities to all others of the batch and to the
    earlier ones, divided by `temperature`, become shares by a softmax, so that its nearest texts
    count most: the Kullback-Leibler divergence of these, and the mean over texts. The loss of SEED
    (arXiv 2101.04731), with the batch before its queue.
    """
    before, taught_before = earlier
    ours = vectors @ torch.cat([vectors, before]).T
    theirs = teacher @ torch.cat([teacher, taught_before]).T
    itself = torch.eye(*ours.shape, dtype=torch.bool, device=ours.device)
    itself[:, len(vectors) :] = theirs[:, len(vectors) :] > SAME_TEXT
    shares = ((each / temperature).masked_fill(itself, NO_SHARE) for each in (ours, theirs))
    ours, theirs = (each.log_softmax(dim=1) for each in shares)
    return functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)


def alignment(vectors: Tensor, targets: Tensor) -> Tensor:
    """The mean squared distance of the vectors from where a teacher's lie among them.

    `vectors` and `targets` [n, d] are of unit length; a distance of ALIGNED_DISTANCE counts 1.
    LEAF, arXiv 2509.12539, trains each text toward its teacher's vector in this way.
    """
    return (vectors - targets).square().sum(dim=1).mean() / ALIGNED_DISTANCE**2


def ranking(first: Tensor, second: Tensor, scores: Tensor) -> Tensor:
    """CoSENT: pairs with a higher score should be more similar than pairs with a lower one.

    `first` and `second` [n, d] are of unit length, `scores` is [n].
    """
    similarities = (first * second).sum(dim=1) * COSENT_SCALE
    differences = similarities[:, None] - similarities[None, :]
    wrong_way = differences[scores[:, None] < scores[None, :]]
    return torch.logsumexp(torch.cat([wrong_way.new_zeros(1), wrong_way]), dim=0)


def cut(vectors: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Return the vectors [n, d] whole and cut to each of the sizes, all of unit length.

    A loss over all of these trains the first numbers of a vector to serve as one themselves:
    Matryoshka representation learning, arXiv 2205.13147, with equal weights.
    """
    return [vectors, *(functional.normalize(vectors[:, :size], dim=1) for size in sizes)]


def by_token(losses: Sequence[Tensor]) -> Tensor:
    """The mean over all tokens, so long answers weigh more; `losses` are [tokens] per sample."""
    return torch.cat(list(losses)).mean()


def by_sample(losses: Sequence[Tensor]) -> Tensor:
    """The mean over samples of their token means, so long and short answers weigh the same."""
    return torch.stack([sample.mean() for sample in losses]).mean()


def mixed(losses: Sequence[Tensor], group: int = 2) -> Tensor:
    """By token within groups of samples, the mean over groups: between the other two.

    A batch of no more than `group` samples has one group, and its loss is that by token.
    """
    groups = [losses[start : start + group] for start in range(0, len(losses), group)]
    return torch.stack([by_token(samples) for samples in groups]).mean()


GENERATIVE = {"token": by_token, "sample": by_sample, "mixed": mixed}

"""An n-gram model with interpolated modified Kneser-Ney smoothing (Chen & Goodman 1999, section 3), in arrays.

Every n-gram is numbered by (number of its first n-1 tokens, last token), so that a key fits 64 bits at any order, and a
look-up is a binary search.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ropewalk.runtime.progress import progress

UNSEEN = -1


@dataclass(frozen=True)
class _Order:
    """The n-grams of one order.

    keys: sorted uint64, context number x vocabulary + token. probability: the discounted share of each.
    backoff: by context number, the weight that the next lower order gets.
    """

    keys: np.ndarray
    probability: np.ndarray
    backoff: np.ndarray


class NgramModel:
    """Train on one token stream; score others."""

    def __init__(self, tokens: np.ndarray, *, order: int, vocabulary: int) -> None:
        """Count the n-grams of `tokens`, documents laid end to end with their boundary token in front."""
        self.vocabulary = vocabulary
        # numbers[n][i]: which distinct (n+1)-gram ends at token i; UNSEEN where the stream is too short for one.
        numbers, keys, counts = [], [], []
        context = np.zeros(len(tokens), np.int64)
        with progress(f"{order}-grams", total=order, unit="orders") as bar:
            for n in range(order):
                start = n  # the first n tokens have no (n+1)-gram
                key = context[start:].astype(np.uint64) * np.uint64(vocabulary) + tokens[start:].astype(np.uint64)
                unique, number, count = np.unique(key, return_inverse=True, return_counts=True)
                keys.append(unique)
                counts.append(count)
                whole = np.full(len(tokens), UNSEEN, np.int64)
                whole[start:] = number
                numbers.append(whole)
                context = np.concatenate(([UNSEEN], whole[:-1]))
                bar.advance()
        self.orders: list[_Order] = []
        for n in range(order):
            if n + 1 < order:  # lower orders count in how many contexts an n-gram was seen, not how often
                _, first = np.unique(numbers[n + 1][n + 1 :], return_index=True)
                used = np.bincount(numbers[n][n + 1 :][first], minlength=len(keys[n]))
            else:
                used = counts[n]
            contexts = 1 if n == 0 else len(keys[n - 1])
            self.orders.append(_discounted(keys[n], used, contexts, vocabulary))

    def log_probabilities(self, document: np.ndarray) -> np.ndarray:
        """The natural log-probability of each token after the first, each given up to `order - 1` tokens before it."""
        targets = document[1:].astype(np.int64)
        probability = np.full(len(targets), 1.0 / self.vocabulary)
        contexts = np.zeros(len(targets), np.int64)  # number of the n-gram before each target, from n = 0: the empty one
        for n, order in enumerate(self.orders):
            if n > 0:
                contexts = self._contexts(document, n)
            known = contexts != UNSEEN
            probability = np.where(known, probability * order.backoff[contexts], probability)
            place, found = _find(order.keys, contexts, targets, self.vocabulary)
            probability = probability + np.where(known & found, order.probability[place], 0.0)
        return np.log(probability)

    def _contexts(self, document: np.ndarray, n: int) -> np.ndarray:
        """The number of the n-gram that ends just before each target, UNSEEN where there is none."""
        number = np.zeros(len(document), np.int64)
        for level in range(n):
            before = np.concatenate(([UNSEEN], number[:-1])) if level else number
            place, found = _find(self.orders[level].keys, before, document.astype(np.int64), self.vocabulary)
            number = np.where(found, place, UNSEEN)
        return number[:-1]


def _find(keys: np.ndarray, contexts: np.ndarray, tokens: np.ndarray, vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each (context, token) stands among `keys`, and whether it does."""
    wanted = np.maximum(contexts, 0).astype(np.uint64) * np.uint64(vocabulary) + tokens.astype(np.uint64)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return place, (keys[place] == wanted) & (contexts != UNSEEN)


def _discounted(keys: np.ndarray, counts: np.ndarray, contexts: int, vocabulary: int) -> _Order:
    """Take the three discounts of modified Kneser-Ney from the counts and give what they free to the lower order."""
    ones, twos, threes, fours = (max(1, int((counts == c).sum())) for c in (1, 2, 3, 4))
    y = ones / (ones + 2 * twos)
    estimates = (1 - 2 * y * twos / ones, 2 - 3 * y * threes / twos, 3 - 4 * y * fours / threes)
    # Few or templated counts can push an estimate out of its range; a discount of 0 would leave unseen tokens impossible.
    discounts = np.array([0.0, *(d if 0 < d <= c else c / 2 for c, d in enumerate(estimates, start=1))])
    taken = np.minimum(discounts[np.minimum(counts, 3)], counts)
    context = (keys // np.uint64(vocabulary)).astype(np.int64)
    total = np.bincount(context, weights=counts, minlength=contexts)
    freed = np.bincount(context, weights=taken, minlength=contexts)
    # A context that was never followed by anything (the stream's end) leaves all to the lower order.
    backoff = np.divide(freed, total, out=np.ones(contexts), where=total > 0)
    share = np.divide(counts - taken, total[context], out=np.zeros(len(keys)), where=total[context] > 0)
    return _Order(keys, share, backoff)

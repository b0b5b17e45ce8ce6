"""Slow reference of every formula: loops over Python floats, written from the settled method and not from the code.

A vector is a list of floats, a set of vectors a dict from a number (item, user, place in the batch) to its vector.
Nothing here knows torch, numpy or the package under test.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, localcontext

Vector = Sequence[float]
Matrix = Sequence[Vector]
Pairs = Sequence[tuple[int, int]]
Pair = tuple[str, str]

EPSILON = 0.05  # of Equation 10


# --- vectors ---------------------------------------------------------------------------------------------------------


def dot(left: Vector, right: Vector) -> float:
    """Σ_l x_l y_l."""
    return math.fsum(x * y for x, y in zip(left, right, strict=True))


def norm(vector: Vector) -> float:
    """‖x‖."""
    return math.sqrt(math.fsum(x * x for x in vector))


def unit(vector: Vector) -> list[float]:
    """x / ‖x‖; an all-zero vector stays zero."""
    length = norm(vector)
    return [x / length if length > 0 else 0.0 for x in vector]


def cosine(left: Vector, right: Vector) -> float:
    """cos(x, y); 0 where either is zero."""
    return dot(unit(left), unit(right))


def apply(matrix: Matrix, vector: Vector) -> list[float]:
    """W x, with the rows of W as outputs."""
    return [dot(row, vector) for row in matrix]


def mean(values: Iterable[float]) -> float:
    """Arithmetic mean."""
    listed = list(values)
    return math.fsum(listed) / len(listed)


def logsumexp(values: Sequence[float]) -> float:
    """log Σ exp(v)."""
    largest = max(values)
    return largest + math.log(math.fsum(math.exp(value - largest) for value in values))


def cross_entropy(logits: Sequence[float], target: int) -> float:
    """-log softmax(logits)_target."""
    return logsumexp(logits) - logits[target]


# --- Section 4 and 5: item level -------------------------------------------------------------------------------------


def distinct_items(pairs: Pairs) -> list[int]:
    """I, the unique items of the batch, ascending."""
    return sorted({item for _, item in pairs})


def strength(pairs: Pairs, user: Mapping[int, Vector], item: Mapping[int, Vector]) -> dict[int, float]:
    """Equation 1: s_i, mean over the batch's pairs of item i of cos(u, i)."""
    return {i: mean(cosine(user[u], item[i]) for u, j in pairs if j == i) for i in distinct_items(pairs)}


def strength_by_rank(pairs: Pairs, user: Mapping[int, Vector], item: Mapping[int, Vector]) -> dict[int, float]:
    """Mean over an item's pairs of the share of the batch's users with a lower cosine than the pair's user."""
    users = sorted({u for u, _ in pairs})

    def share(u: int, i: int) -> float:
        return mean(float(v != u and cosine(user[v], item[i]) < cosine(user[u], item[i])) for v in users)

    return {i: mean(share(u, i) for u, j in pairs if j == i) for i in distinct_items(pairs)}


def strength_by_zscore(pairs: Pairs, user: Mapping[int, Vector], item: Mapping[int, Vector]) -> dict[int, float]:
    """Mean over an item's pairs of (cosine - its mean over the batch's users) / its unbiased deviation over them."""
    users, scores = sorted({u for u, _ in pairs}), {}
    for i in distinct_items(pairs):
        cosines = [cosine(user[v], item[i]) for v in users]
        deviation = math.sqrt(variance(cosines))
        own = [cosine(user[u], item[i]) for u, j in pairs if j == i]
        scores[i] = mean((value - mean(cosines)) / deviation for value in own) if deviation > 0 else 0.0
    return scores


SCALES = {None: strength, "rank": strength_by_rank, "zscore": strength_by_zscore}


def variance(values: Sequence[float]) -> float:
    """Unbiased variance; 0 for one value."""
    if len(values) == 1:
        return 0.0
    middle = mean(values)
    return math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1)


def compensation(values: Sequence[float]) -> list[float]:
    """Equation 2: g_i = Var(s) (exp(1 - s_i) - 1)."""
    spread = variance(values)
    return [spread * (math.exp(1 - value) - 1) for value in values]


def supports(strengths: Matrix, rule: str, m: int, n: int, i: int) -> bool:
    """Whether item i supports the direction m → n; ``strengths`` is (modalities, items)."""
    if m == n:
        return False
    if rule == "bidirectional":
        return True
    if rule == "one_way":
        return strengths[n][i] > strengths[m][i]
    if rule == "dynamic":
        return strengths[n][i] + compensation(strengths[n])[i] > strengths[m][i]
    if rule == "topmost":
        best = max(range(len(strengths)), key=lambda k: (strengths[k][i], -k))
        return n == best
    raise ValueError(rule)


def align_linear(weight: Matrix, vector: Vector) -> list[float]:
    """Equation 3 with a bias-free linear f: x + W x, x of unit length."""
    start = unit(vector)
    return [x + f for x, f in zip(start, apply(weight, start), strict=True)]


def align_ffn(first: Matrix, bias: Vector, second: Matrix, second_bias: Vector, vector: Vector) -> list[float]:
    """Equation 3 with f a two-layer network: x + W2 max(W1 x + b1, 0) + b2, x of unit length."""
    start = unit(vector)
    hidden = [max(x + b, 0.0) for x, b in zip(apply(first, start), bias, strict=True)]
    return [x + f + b for x, f, b in zip(start, apply(second, hidden), second_bias, strict=True)]


def item_level(
    aligned: Mapping[Pair, Mapping[int, Vector]],
    target: Mapping[str, Mapping[int, Vector]],
    temperature: float,
) -> float:
    """Equation 4: (1/n) Σ_{m→n} Σ_{i in D} CE(cos(î_i, j^n)/λ over j in I, i).

    ``aligned[m, n][i]``: î of the items of D^{m→n}; ``target[n][j]``: j^n of all items of the batch.
    """
    total = 0.0
    count = 0
    for (_, n), vectors in aligned.items():
        items = sorted(target[n])
        for i, vector in vectors.items():
            logits = [cosine(vector, target[n][j]) / temperature for j in items]
            total += cross_entropy(logits, items.index(i))
    for vectors in target.values():
        count = len(vectors)
    return total / count


def direction_tuning(
    aligned: Mapping[Pair, Mapping[int, Vector]],
    pairs: Pairs,
    user: Mapping[int, Vector],
    strengths: Mapping[str, Mapping[int, float]],
) -> float:
    """Equation 6: -(1/(|M|(|M|-1))) Σ_{m≠n} mean_{i in D} (avg_u cos(u, î_i) - s_i^m)."""
    size = len(strengths)
    total = 0.0
    for (m, _), vectors in aligned.items():
        gains = []
        for i, vector in vectors.items():
            after = mean(cosine(user[u], vector) for u, j in pairs if j == i)
            gains.append(after - strengths[m][i])
        if gains:
            total += mean(gains)
    return -total / (size * (size - 1)) if size > 1 else 0.0


# --- Section 6.1: neighbours -----------------------------------------------------------------------------------------


def co_occurrence(training: Pairs, i: int, j: int) -> float:
    """Equation 7: cosine of the columns of two items in the binary interaction matrix."""
    left = {user for user, item in training if item == i}
    right = {user for user, item in training if item == j}
    if not left or not right:
        return 0.0
    return len(left & right) / math.sqrt(len(left) * len(right))


def neighbors(training: Pairs, num_items: int, k: int, i: int) -> list[int]:
    """The K most similar other items with similarity > 0, most similar first, equal ones by index."""
    scored = [(-co_occurrence(training, i, j), j) for j in range(num_items) if j != i]
    return [j for score, j in sorted(scored) if score < 0][:k]


def filled_neighbors(
    present: Sequence[int], features: Mapping[str, Matrix], shares: Mapping[str, float], k: int, i: int
) -> list[int]:
    """The neighbours, then the nearest others by Σ share · cosine over item i's modalities, up to K in all.

    The sum is divided by √(shares of i's modalities · shares of the other's), which makes it a cosine.
    """
    held = {
        j: sum(shares[m] for m in features if norm(features[m][j])) for j in range(len(next(iter(features.values()))))
    }

    def similarity(j: int) -> float:
        weighted = math.fsum(shares[m] * cosine(table[i], table[j]) for m, table in features.items())
        return weighted / math.sqrt(held[i] * held[j]) if held[i] and held[j] else 0.0

    others = [j for j in held if j != i and j not in present and similarity(j) > 0]
    return [*present, *sorted(others, key=lambda j: -similarity(j))][:k]


def neighborhood(vectors: Sequence[Vector]) -> list[float]:
    """Equation 8: mean of the L2-normalised vectors of the neighbours."""
    return [mean(column) for column in zip(*[unit(vector) for vector in vectors], strict=True)]


def neighbor_loss(items: Sequence[Vector], around: Sequence[Vector], temperature: float, negatives: str) -> float:
    """Equation 9 for one modality: mean over the items that have neighbours of

    -log( exp(sim(i, ĩ)/λ) / Σ_j exp(sim(i, x_j)/λ) ), x_j = j̃ ("neighborhoods") or j ("items").
    """
    losses = []
    for i, vector in enumerate(items):
        others = {"neighborhoods": around, "items": items}[negatives]
        below = logsumexp([cosine(vector, other) / temperature for other in others])
        losses.append(below - cosine(vector, around[i]) / temperature)
    return mean(losses) if losses else 0.0


# --- Sections 6.2 and 6.3: clusters ----------------------------------------------------------------------------------


def sinkhorn(scores: Matrix, rounds: int = 3, epsilon: float = EPSILON) -> list[list[float]]:
    """Equation 10: exp(score/ε); each round scales prototypes to 1/P, then samples to 1/B; at last rows sum to 1.

    In decimal numbers of fifty digits, whose exponents do not overflow.
    """
    with localcontext() as context:
        context.prec = 50
        q = [[(Decimal(float(score)) / Decimal(epsilon)).exp() for score in row] for row in scores]
        size, width = len(q), len(q[0])
        for _ in range(rounds):
            for p in range(width):
                column = sum(q[b][p] for b in range(size))
                for b in range(size):
                    q[b][p] /= column * width
            for b in range(size):
                row = sum(q[b])
                q[b] = [value / (row * size) for value in q[b]]
        return [[float(value / sum(row)) for value in row] for row in q]


def nearest(scores: Matrix) -> list[list[float]]:
    """k-means codes: all weight on the prototype of the highest score."""
    codes = []
    for row in scores:
        best = max(range(len(row)), key=lambda p: row[p])
        codes.append([1.0 if p == best else 0.0 for p in range(len(row))])
    return codes


def codes(vectors: Sequence[Vector], codebook: Matrix, clusterer: str = "sinkhorn", rounds: int = 3) -> Matrix:
    """Codes of the batch's vectors, one row a pair, over the prototypes."""
    scores = [[cosine(vector, prototype) for prototype in codebook] for vector in vectors]
    return sinkhorn(scores, rounds) if clusterer == "sinkhorn" else nearest(scores)


def swapped(vectors: Sequence[Vector], code: Matrix, codebook: Matrix, temperature: float) -> float:
    """-mean_b Σ_p q_bp log softmax(x_b C / λ)_p."""
    losses = []
    for vector, weights in zip(vectors, code, strict=True):
        logits = [cosine(vector, prototype) / temperature for prototype in codebook]
        below = logsumexp(logits)
        losses.append(-math.fsum(q * (logit - below) for q, logit in zip(weights, logits, strict=True)))
    return mean(losses)


def item_cluster(
    vectors: Mapping[str, Sequence[Vector]], code: Mapping[str, Matrix], codebook: Matrix, temperature: float
) -> float:
    """Equation 11 over the B pairs: (1/(|M|(|M|-1))) Σ_{m≠n} -mean_b Σ_p q_p^n log softmax(i^m C/λ)_p."""
    size = len(vectors)
    if size < 2:
        return 0.0
    total = sum(swapped(vectors[m], code[n], codebook, temperature) for m, n in itertools.permutations(vectors, 2))
    return total / (size * (size - 1))


def user_cluster(
    users: Sequence[Vector],
    items: Sequence[Vector],
    user_code: Matrix,
    item_code: Matrix,
    codebook: Matrix,
    temperature: float,
) -> float:
    """Equation 12: half of codes of u against i^id plus codes of i^id against u."""
    towards_item = swapped(items, user_code, codebook, temperature)
    towards_user = swapped(users, item_code, codebook, temperature)
    return (towards_item + towards_user) / 2


def clamp(value: float, low: float, high: float) -> float:
    """A learnable temperature before use."""
    return min(max(value, low), high)


# --- the whole --------------------------------------------------------------------------------------------------------


class World:
    """All that the terms depend on, as plain numbers.

    ``item["id"]`` and the modalities handed over are (items, L); the others follow from ``features`` and
    ``projections``. ``aligners[m, n]``: W, or (W1, b1, W2, b2).
    """

    def __init__(self, **values):
        self.pairs: Pairs
        self.user: Matrix
        self.item: dict[str, Matrix]
        self.modalities: list[str]
        self.features: dict[str, Matrix] = {}
        self.projections: dict[str, Matrix] = {}
        self.aligners: dict[Pair, object] = {}
        self.codebook_itv: Matrix
        self.codebook_ui: Matrix
        self.lambda_f = 0.1
        self.lambda_c = 0.2
        self.lambda_n = 0.2
        self.learn_lambda_f = True
        self.learn_lambda_c = True
        self.rule = "dynamic"
        self.scale: str | None = None
        self.negatives = "neighborhoods"
        self.clusterer = "sinkhorn"
        self.rounds = 3
        self.neighbors: Mapping[int, Sequence[int]] = {}
        self.__dict__.update(values)

    def vector(self, modality: str, i: int) -> Vector:
        """i^m: the backbone's own, or the projected features."""
        if modality in self.item:
            return self.item[modality][i]
        return apply(self.projections[modality], self.features[modality][i])

    def align(self, pair: Pair, i: int) -> Vector:
        """î^{m→n}."""
        weights = self.aligners[pair]
        vector = self.vector(pair[0], i)
        return align_ffn(*weights, vector) if isinstance(weights, tuple) else align_linear(weights, vector)


class Constants:
    """All that passes no gradient: strengths, directions, targets j^n, users of Equation 6, codes."""

    def __init__(self, world: World):
        items = distinct_items(world.pairs)
        user = {u: list(vector) for u, vector in enumerate(world.user)}
        names = world.modalities
        self.user = user
        self.target = {m: {i: list(world.vector(m, i)) for i in items} for m in names}
        self.strength = {m: strength(world.pairs, user, self.target[m]) for m in names}
        self.scaled = {m: SCALES[world.scale](world.pairs, user, self.target[m]) for m in names}
        table = [[self.scaled[m][i] for i in items] for m in names]
        self.supported = {
            (names[m], names[n]): [i for at, i in enumerate(items) if supports(table, world.rule, m, n, at)]
            for m, n in itertools.permutations(range(len(names)), 2)
        }
        how = (world.clusterer, world.rounds)
        self.code = {m: codes([world.vector(m, i) for _, i in world.pairs], world.codebook_itv, *how) for m in names}
        self.user_code = codes([world.user[u] for u, _ in world.pairs], world.codebook_ui, *how)
        self.item_code = codes([world.vector("id", i) for _, i in world.pairs], world.codebook_ui, *how)


def cross(world: World, constants: Constants | None = None) -> dict[str, float]:
    """All five terms; ``constants`` of another world where only the differentiable part shall move."""
    held = constants or Constants(world)
    names, pairs = world.modalities, world.pairs
    items = distinct_items(pairs)
    lambda_f = clamp(world.lambda_f, 0.001, 0.5) if world.learn_lambda_f else world.lambda_f
    lambda_c = clamp(world.lambda_c, 0.01, 0.99) if world.learn_lambda_c else world.lambda_c
    aligned = {pair: {i: world.align(pair, i) for i in chosen} for pair, chosen in held.supported.items()}
    having = [i for i in items if world.neighbors.get(i)]
    around = {m: [neighborhood([world.vector(m, k) for k in world.neighbors[i]]) for i in having] for m in names}
    per_modality = [
        neighbor_loss([world.vector(m, i) for i in having], around[m], world.lambda_n, world.negatives) for m in names
    ]
    written_out = {m: [world.vector(m, i) for _, i in pairs] for m in names}
    return {
        "item": item_level(aligned, held.target, lambda_f),
        "tuning": direction_tuning(aligned, pairs, held.user, held.strength),
        "neighbor": mean(per_modality),
        "cluster_items": item_cluster(written_out, held.code, world.codebook_itv, lambda_c),
        "cluster_users": user_cluster(
            [world.user[u] for u, _ in pairs],
            written_out["id"],
            held.user_code,
            held.item_code,
            world.codebook_ui,
            lambda_c,
        ),
    }


def total(terms: Mapping[str, float], alpha: float, beta: float, gamma: float) -> float:
    """α (Eq. 4 + Eq. 6) + β (Eq. 11 + Eq. 12) + γ Eq. 9."""
    item_level_part = terms["item"] + terms["tuning"]
    cluster_part = terms["cluster_items"] + terms["cluster_users"]
    return alpha * item_level_part + beta * cluster_part + gamma * terms["neighbor"]


# --- backbones --------------------------------------------------------------------------------------------------------


def bpr(positive: Vector, negative: Vector) -> float:
    """mean -log σ(positive - negative)."""
    return mean(-math.log(1 / (1 + math.exp(n - p))) for p, n in zip(positive, negative, strict=True))


def embedding_norm(*matrices: Matrix) -> float:
    """EmbLoss: (‖U_b‖_F + ‖P_b‖_F + ‖N_b‖_F) / B."""
    return sum(norm([x for row in matrix for x in row]) for matrix in matrices) / len(matrices[0])


def adjacency(edges: Pairs, num_users: int, num_items: int) -> list[list[float]]:
    """D^-1/2 A D^-1/2 of the bipartite graph, users first; an edge counts once."""
    size = num_users + num_items
    plain = [[0.0] * size for _ in range(size)]
    for u, i in edges:
        plain[u][num_users + i] = plain[num_users + i][u] = 1.0
    degree = [sum(row) for row in plain]
    for a, b in itertools.product(range(size), repeat=2):
        if plain[a][b]:
            plain[a][b] /= math.sqrt(degree[a] * degree[b])
    return plain


def multiply(matrix: Matrix, vectors: Matrix) -> list[list[float]]:
    """The product of two matrices."""
    return [[dot(row, column) for column in zip(*vectors, strict=True)] for row in matrix]


def propagate_mean(matrix: Matrix, ego: Matrix, layers: int) -> list[list[float]]:
    """LightGCN: mean of layers 0 … k."""
    stack = [ego]
    for _ in range(layers):
        stack.append(multiply(matrix, stack[-1]))
    return [[mean(values) for values in zip(*rows, strict=True)] for rows in zip(*stack, strict=True)]


def knn(features: Matrix, k: int, i: int) -> list[int]:
    """The k items of highest cosine, the item itself included; items without the feature have themselves alone."""
    if not norm(features[i]):
        return [i]
    having = [j for j in range(len(features)) if norm(features[j])]
    scored = [(-2.0 if j == i else -cosine(features[i], features[j]), j) for j in having]
    return [j for _, j in sorted(scored)[:k]]


def item_graph(features: Mapping[str, Matrix], k: int, shares: Mapping[str, float]) -> list[list[float]]:
    """FREEDOM: Σ_m share_m · (binary kNN graph of modality m, every row divided by its degree)."""
    size = len(next(iter(features.values())))
    graph = [[0.0] * size for _ in range(size)]
    for name, table in features.items():
        for i in range(size):
            nearest_rows = knn(table, k, i)
            for j in nearest_rows:
                graph[i][j] += shares[name] / len(nearest_rows)
    return graph


def kept_probabilities(edges: Pairs, count: int) -> list[float]:
    """FREEDOM's pruning: chance of each edge to be among the ``kept`` drawn one by one without replacement,

    each draw with probability ∝ 1/√(d_u d_i) among those left. By enumeration of all orders.
    """
    users = [sum(u == v for v, _ in edges) for u, _ in edges]
    items = [sum(i == j for _, j in edges) for _, i in edges]
    weights = [1 / math.sqrt(a * b) for a, b in zip(users, items, strict=True)]
    chance = [0.0] * len(edges)
    for order in itertools.permutations(range(len(edges)), count):
        left, probability = sum(weights), 1.0
        for edge in order:
            probability *= weights[edge] / left
            left -= weights[edge]
        for edge in order:
            chance[edge] += probability
    return chance

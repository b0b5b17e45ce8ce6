"""Train a two-tower model with CROSS: vectors are computed for the users and items of a batch only.

Run it with ``python examples/two_tower.py``. The lines marked (1) to (4) add CROSS. Compare with ``--alone``.
"""

import sys

import torch
from torch import nn

from crossrec import Batch, Cross, Representations

torch.manual_seed(0)
USERS, ITEMS, DIM, TASTES, PER_USER, EPOCHS = 400, 300, 32, 8, 12, 15
WITH_CROSS = "--alone" not in sys.argv

# Generated data: users prefer items by taste; image and text features show the taste of an item with noise.
item_taste = torch.randn(ITEMS, TASTES)
preference = torch.randn(USERS, TASTES) @ item_taste.T - torch.empty(USERS, ITEMS).exponential_().log()
items_of_user = preference.topk(PER_USER).indices[:, torch.randperm(PER_USER)]  # (USERS, PER_USER), all different
image = item_taste @ torch.randn(TASTES, 48) + torch.randn(ITEMS, 48)
text = item_taste @ torch.randn(TASTES, 24) + torch.randn(ITEMS, 24)
held_out, train_items = items_of_user[:, :2], items_of_user[:, 2:]
user, item = torch.arange(USERS).repeat_interleave(PER_USER - 2), train_items.reshape(-1)


class Tower(nn.Module):
    """A vector for each number, through a layer; computes those that are asked for and no others."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(count, DIM), nn.Linear(DIM, DIM)
        nn.init.normal_(self.embedding.weight, std=0.1)

    def forward(self, number: torch.Tensor) -> torch.Tensor:
        vector = self.embedding(number)
        return vector + torch.tanh(self.layer(vector))


user_tower, item_tower = Tower(USERS), Tower(ITEMS)
cross = Cross(DIM, features={"image": image, "text": text}, interactions=(user, item), num_items=ITEMS)  # (1)
parameters = [*user_tower.parameters(), *item_tower.parameters(), *cross.parameters()]
optimizer = torch.optim.Adam(parameters, lr=0.01)

for epoch in range(1, EPOCHS + 1):
    for pair in torch.randperm(len(user)).split(256):
        batch = Batch(user[pair], item[pair])
        users, user_row = torch.unique(batch.user_B, return_inverse=True)
        items, item_row = torch.unique(batch.item_B, return_inverse=True)
        needed = cross.items_needed(batch) if WITH_CROSS else items  # (2) the batch's items first, ascending
        user_vectors, item_vectors = user_tower(users), item_tower(needed)
        score = user_vectors[user_row] @ item_vectors[: len(items)].T  # sampled softmax: a batch's items compete
        own_loss = loss = nn.functional.cross_entropy(score, item_row)
        if WITH_CROSS:
            terms = cross(Representations(user_vectors, item_vectors, user_rows=users, item_rows=needed), batch)  # (3)
            loss = own_loss + cross.total(terms)  # (4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch in (1, EPOCHS):
        print(f"epoch {epoch}: own loss {own_loss.item():.4f}  in all {loss.item():.4f}  ({len(needed)} item vectors)")

with torch.inference_mode():
    everyone, everything = user_tower(torch.arange(USERS)), item_tower(torch.arange(ITEMS))
    score = (everyone @ everything.T).scatter(1, train_items, float("-inf"))
    recall = (score.topk(20).indices.unsqueeze(2) == held_out.unsqueeze(1)).any(1).float().mean()
print(f"recall@20 of the held-out items: {recall.item():.4f}")

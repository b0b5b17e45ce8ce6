"""Add CROSS to a model outside crossrec: plain matrix factorisation with its own training loop.

Run it with ``python examples/own_loop.py``. The three lines marked (1), (2), (3) add CROSS. The optimizer also gets the
parameters of CROSS.
"""

import torch

from crossrec import Batch, Cross, Representations

torch.manual_seed(0)
USERS, ITEMS, DIM, TASTES, PER_USER, EPOCHS = 400, 300, 32, 8, 12, 20

# Generated data: users prefer items by taste; image and text features show the taste of an item with noise.
item_taste = torch.randn(ITEMS, TASTES)
preference = torch.randn(USERS, TASTES) @ item_taste.T - torch.empty(USERS, ITEMS).exponential_().log()
items_of_user = preference.topk(PER_USER).indices[:, torch.randperm(PER_USER)]  # (USERS, PER_USER), all different
image = item_taste @ torch.randn(TASTES, 48) + torch.randn(ITEMS, 48)
text = item_taste @ torch.randn(TASTES, 24) + torch.randn(ITEMS, 24)
held_out, train_items = items_of_user[:, :2], items_of_user[:, 2:]
user, item = torch.arange(USERS).repeat_interleave(PER_USER - 2), train_items.reshape(-1)

user_table = torch.nn.Parameter(0.1 * torch.randn(USERS, DIM))
item_table = torch.nn.Parameter(0.1 * torch.randn(ITEMS, DIM))
cross = Cross(DIM, features={"image": image, "text": text}, interactions=(user, item), num_items=ITEMS)  # (1)
optimizer = torch.optim.Adam([user_table, item_table, *cross.parameters()], lr=0.01)

for epoch in range(1, EPOCHS + 1):
    for pair in torch.randperm(len(user)).split(1000):
        u, i, j = user[pair], item[pair], torch.randint(ITEMS, (len(pair),))
        margin = (user_table[u] * (item_table[i] - item_table[j])).sum(1)
        own_loss = torch.nn.functional.softplus(-margin).mean()
        terms = cross(Representations(user_table, item_table), Batch(u, i))  # (2)
        loss = own_loss + cross.total(terms)  # (3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch in (1, EPOCHS):
        named = "  ".join(f"{name} {value.item():.4f}" for name, value in terms.items())
        print(f"epoch {epoch}: own loss {own_loss.item():.4f}  with CROSS {loss.item():.4f}")
        print(f"  CROSS terms: {named}")

with torch.no_grad():
    score = (user_table @ item_table.T).scatter(1, train_items, float("-inf"))
    recall = (score.topk(20).indices.unsqueeze(2) == held_out.unsqueeze(1)).any(1).float().mean()
print(f"recall@20 of the held-out items: {recall.item():.4f}")

"""CROSS on a model that knows nothing of crossrec: plain matrix factorisation with a training loop of its own.

Run it with ``python examples/own_loop.py``. Three lines put CROSS in, marked (1), (2), (3); its parameters go to the
optimiser beside the model's.
"""

import torch

from crossrec import Batch, Cross, Representations

torch.manual_seed(0)
USERS, ITEMS, DIM, TASTES, PER_USER, EPOCHS = 400, 300, 32, 8, 12, 20

# Made-up data: tastes decide who takes what; picture and text each show them through noise.
item_taste = torch.randn(ITEMS, TASTES)
wish = torch.randn(USERS, TASTES) @ item_taste.T - torch.empty(USERS, ITEMS).exponential_().log()
taken = wish.topk(PER_USER).indices[:, torch.randperm(PER_USER)]  # (USERS, PER_USER), all different
image = item_taste @ torch.randn(TASTES, 48) + torch.randn(ITEMS, 48)
text = item_taste @ torch.randn(TASTES, 24) + torch.randn(ITEMS, 24)
held_out, train_items = taken[:, :2], taken[:, 2:]
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
    found = (score.topk(20).indices.unsqueeze(2) == held_out.unsqueeze(1)).any(1).float().mean()
print(f"recall@20 of the held-out items: {found.item():.4f}")

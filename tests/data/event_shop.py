"""A German shop: products, customers and 90 days of views, carts, purchases and refunds, with a bot.

Semicolons, DD.MM.YYYY, decimal commas and German headers. ``python -m tests.data.event_shop FOLDER`` writes one of
3,000 products, 8,000 customers and 100,000 events.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

EVENTS = ("angesehen", "warenkorb", "gekauft", "erstattet")
"""Viewed, put into the cart, bought, refunded."""
BOT = "K999999"
COLUMNS = {
    "user_column": "Kunde",
    "item_column": "Artikel",
    "time_column": "Zeitpunkt",
    "event_column": "Ereignis",
    "rating_column": "",
}
ITEM_COLUMNS = {
    "item_id_column": "Artikelnummer",
    "title_column": "Bezeichnung",
    "text_column": "Beschreibung",
    "category_column": "Warengruppe",
    "price_column": "Preis",
    "picture_column": "Bild",
}


class Event(NamedTuple):
    """A row of the log."""

    customer: str
    product: str
    kind: str
    moment: datetime
    amount: float


def write_shop(
    folder: Path, *, products: int = 60, customers: int = 80, events: int = 1500, days: int = 90, seed: int = 0
) -> list[Event]:
    """Write ereignisse.csv and artikel.csv and return the events in the order of the file."""
    draw = np.random.default_rng(seed)
    start = datetime(2024, 3, 1)
    taste = draw.integers(8, size=customers)
    rows: list[Event] = []
    while len(rows) < events:
        customer = int(customers * draw.random() ** 2)
        product = int(products * draw.random() ** 2) // 8 * 8 + int(taste[customer])
        moment = start + timedelta(seconds=int(draw.integers(days * 86_400)))
        names = f"K{customer:06}", f"A{min(product, products - 1):05}"
        for kind, chance in zip(EVENTS, (1.0, 0.4, 0.5, 0.15), strict=True):
            if draw.random() > chance:
                break
            amount = int(draw.integers(1, 4)) / 2 if kind == "gekauft" else 1
            rows.append(Event(*names, kind, moment, amount))
            moment += timedelta(minutes=int(draw.integers(1, 60)))
    rows += [
        Event(BOT, f"A{n % products:05}", "angesehen", start + timedelta(minutes=n), 1) for n in range(events // 5)
    ]
    rows.sort(key=lambda row: row.moment)
    folder.mkdir(parents=True, exist_ok=True)
    write_log(folder / "ereignisse.csv", rows)
    items = ["Artikelnummer;Bezeichnung;Beschreibung;Warengruppe;Preis;Bild"]
    for n in range(products):
        price = f"{n % 9 + 1}.{n % 1000:03},{n % 100:02}"
        items.append(f'A{n:05};"Tee ""{n}""";Grüner Tee, lose;"Tee; Kräuter";{price};bilder/{n}.jpg')
    (folder / "artikel.csv").write_text("\n".join(items) + "\n", encoding="utf-8")
    return rows


def write_log(path: Path, rows: list[Event]) -> None:
    """Write events as the shop's log."""
    lines = ["Kunde;Artikel;Ereignis;Zeitpunkt;Menge"]
    lines += [
        f"{row.customer};{row.product};{row.kind};{row.moment:%d.%m.%Y %H:%M:%S};" + f"{row.amount:g}".replace(".", ",")
        for row in rows
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_shop(Path(sys.argv[1]), products=3000, customers=8000, events=100_000)

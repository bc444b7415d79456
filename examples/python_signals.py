"""A signal component: sends orders, follows them, and survives crashes of itself and of Redis.

    python_signals.py --state signals.json --signals signals.jsonl [--redis URL] [--prefix orders]

It reads signals, one JSON object a line: {"signal": "s-1", "symbol": "BTCUSDT", "side": "Buy", "quantity": "0.25"},
with "limit": "44000" for a limit order. It ends once every order has its outcome (with --follow: never), and prints
its view: a line of JSON for each order. Three rules make it safe to kill at any moment:

1. An order is written to the state file, on disk, before it is sent, with its client order id.
2. Whatever has no outcome yet is sent again after a start and after a lost connection, byte for byte. The worker
   knows the id and executes it once; the repeat gets an outcome of its own.
3. What was read is remembered together with the place up to which it was read, in one atomic write.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any, TypedDict, cast

import redis

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs" / "types"))
from order_execution import CompletedOutcome, FailedOutcome, NewOrder, Order, Status, StatusMessage

TERMINAL = ("Filled", "Cancelled", "Rejected", "Expired")
WAIT_MS = 200


class View(TypedDict):
    """What is known of one order. Amounts stay text; to compute, make a Decimal of them, never a float."""

    order: str  # what was sent, byte for byte
    sent: str | None  # the entry that it was last sent as, where that is known
    outcome: str | None  # the stream of its outcome: completed or failed
    error: str | None
    status: Status | None
    filled_quantity: str
    average_fill_price: str | None
    version: int


class State:
    """The state file: {"read": {stream: last id}, "orders": {client order id: View}}."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read: dict[str, str] = {}
        self.orders: dict[str, View] = {}
        if path.exists():
            held = json.loads(path.read_text())
            self.read, self.orders = held["read"], held["orders"]

    def save(self) -> None:
        """Wholly or not at all: a new file, on disk, takes the place of the old one."""
        new = self.path.with_suffix(".new")
        with new.open("w") as file:
            json.dump({"read": self.read, "orders": self.orders}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def order_of(signal: dict[str, str]) -> NewOrder:
    """The same signal always makes the same order: its id is the signal's."""
    quantity = Decimal(signal["quantity"])
    if quantity <= 0:
        raise ValueError(f"signal {signal['signal']}: quantity {quantity} must be above 0")
    return {
        "client_order_id": f"py-{signal['signal']}",
        "symbol": signal["symbol"],
        "side": "Buy" if signal["side"] == "Buy" else "Sell",
        "quantity": str(quantity),
        "order_type": {"Limit": {"price": str(Decimal(signal["limit"]))}} if "limit" in signal else "Market",
        "signal_id": signal["signal"],
        "component_name": "python_signals",
    }


class SignalComponent:
    def __init__(self, url: str, prefix: str, state: State) -> None:
        # No retries inside the client: after a lost connection this component says itself what is sent again.
        # "replace": a failed request of somebody else may hold bytes that are no text.
        # (Any: redis-py cannot say in its types that the answers are text.)
        self.redis: Any = redis.Redis.from_url(
            url, decode_responses=True, encoding_errors="replace", socket_timeout=10, retry=None
        )
        self.prefix = prefix
        self.state = state
        self.messages: Any = None

    def key(self, name: str) -> str:
        return f"{self.prefix}:{name}"

    # ---- sending

    def submit(self, order: NewOrder) -> None:
        """Rule 1: written down, then sent. An order that is known is not sent again here."""
        client_order_id = cast(str, order["client_order_id"])
        if client_order_id in self.state.orders:
            return
        self.state.orders[client_order_id] = View(
            order=json.dumps(order),
            sent=None,
            outcome=None,
            error=None,
            status=None,
            filled_quantity="0",
            average_fill_price=None,
            version=0,
        )
        self.state.save()
        self.send(client_order_id)

    def send(self, client_order_id: str) -> None:
        view = self.state.orders[client_order_id]
        view["sent"] = self.redis.xadd(self.key("pending"), {"order": view["order"]})

    # ---- following

    def connect(self) -> None:
        """After a start and after every lost connection: listen first, then catch up, then send again."""
        if self.messages is not None:
            self.messages.close()
        self.messages = self.redis.pubsub(ignore_subscribe_messages=True)
        self.messages.subscribe(self.key("status"))
        for name in ("completed", "failed"):
            if name not in self.state.read:
                # Before the first order is sent, so that no outcome of ours is older.
                newest = self.redis.xrevrange(self.key(name), count=1)
                self.state.read[name] = newest[0][0] if newest else "0-0"
        self.state.save()
        while self.take_outcomes(None):
            pass
        unanswered = [name for name, view in self.state.orders.items() if view["outcome"] is None]
        for client_order_id in unanswered:
            # On disk before the repeat is sent, so that a failure of what was sent before is not taken for its own.
            self.state.orders[client_order_id]["sent"] = None
        self.state.save()
        for client_order_id in unanswered:
            self.send(client_order_id)  # rule 2
        for client_order_id in self.state.orders:
            self.reread(client_order_id)
        self.state.save()

    def step(self) -> None:
        """Takes what has come: outcomes (waits a moment for one), then status messages."""
        self.take_outcomes(WAIT_MS)
        changed = False
        while message := self.messages.get_message(timeout=0):
            changed = self.take_message(json.loads(message["data"])) or changed
        if changed:
            self.state.save()

    def take_outcomes(self, wait_ms: int | None) -> bool:
        after = {self.key(name): last for name, last in self.state.read.items()}
        found = self.redis.xread(after, count=500, block=wait_ms) or []
        for stream, entries in found:
            name = stream.removeprefix(f"{self.prefix}:")
            for entry, outcome in entries:
                self.take_outcome(name, outcome)
                self.state.read[name] = entry
        if found:
            self.state.save()  # rule 3
        return bool(found)

    def take_outcome(self, name: str, outcome: CompletedOutcome | FailedOutcome) -> None:
        """Each request has exactly one, so an order that was sent again has several.

        What was carried out stays carried out. A failure is the last word only of what was sent last: after a refusal
        that makes no order (an unknown symbol, say) a repeat that is under way may still be carried out.
        """
        view = self.state.orders.get(outcome.get("client_order_id", ""))
        if view is None or outcome["request"] != "submit":
            return
        if name == "completed" or (view["outcome"] is None and outcome["entry_id"] == view["sent"]):
            view["outcome"] = name
            view["error"] = cast(FailedOutcome, outcome)["error"] if name == "failed" else None
        order = json.loads(outcome.get("order", "{}"))
        if "version" in order:
            take_order(view, order)
        elif view["version"] == 0:
            view["status"] = outcome["status"]  # refused before it became an order

    def take_message(self, message: StatusMessage) -> bool:
        """A status message is applied if it continues what is known; of a gap the whole order is read."""
        view = self.state.orders.get(message["client_order_id"])
        if view is None or message["version"] <= view["version"]:
            return False
        if message["first_version"] != view["version"] + 1:
            return self.reread(message["client_order_id"])
        view["status"] = message["status"]
        view["filled_quantity"] = message["filled_quantity"]
        view["average_fill_price"] = message["average_fill_price"]
        view["version"] = message["version"]
        return True

    def reread(self, client_order_id: str) -> bool:
        """orders:state:<id> never moves backwards; a day after the last change it is gone."""
        text = self.redis.get(self.key(f"state:{client_order_id}"))
        return text is not None and take_order(self.state.orders[client_order_id], json.loads(text))

    # ---- the loop

    def run(self, orders: list[NewOrder], follow: bool) -> None:
        connected = False
        while follow or not connected or any(view["outcome"] is None for view in self.state.orders.values()):
            try:
                if not connected:
                    self.connect()
                    connected = True
                    for order in orders:
                        self.submit(order)
                self.step()
            except (redis.ConnectionError, redis.TimeoutError) as error:
                # Whether the last request arrived is not known. It is sent again: rule 2.
                print(f"Redis is away ({error}); trying again", file=sys.stderr)
                connected = False
                time.sleep(0.2)


def take_order(view: View, order: Order) -> bool:
    """Takes an order's whole JSON, unless more is known already."""
    if order["version"] <= view["version"]:
        return False
    status = order["status"]
    view["status"] = status if isinstance(status, str) else cast(Status, next(iter(status)))
    view["filled_quantity"] = order["filled_quantity"]
    view["average_fill_price"] = order["average_fill_price"]
    view["version"] = order["version"]
    return True


def show(state: State) -> None:
    bought = Decimal(0)
    for client_order_id, view in state.orders.items():
        sign = 1 if json.loads(view["order"])["side"] == "Buy" else -1
        bought += sign * Decimal(view["filled_quantity"])  # exact: decimals, not floats
        print(json.dumps({"client_order_id": client_order_id} | {k: v for k, v in view.items() if k != "order"}))
    print(f"{len(state.orders)} orders, {bought} bought in all", file=sys.stderr)


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--redis", default="redis://127.0.0.1:6379/")
    arguments.add_argument("--prefix", default="orders")
    arguments.add_argument("--state", type=Path, required=True)
    arguments.add_argument("--signals", type=Path, required=True)
    arguments.add_argument("--follow", action="store_true", help="go on following when every order has its outcome")
    given = arguments.parse_args()
    state = State(given.state)
    orders = [order_of(json.loads(line)) for line in given.signals.read_text().splitlines() if line.strip()]
    try:
        SignalComponent(given.redis, given.prefix, state).run(orders, given.follow)
    except KeyboardInterrupt:
        pass
    show(state)


if __name__ == "__main__":
    main()

"""Adds one order and prints its outcome, with nothing but the standard library: producer.py <url> <prefix>"""
import json, socket, sys, urllib.parse

url, prefix = urllib.parse.urlparse(sys.argv[1]), sys.argv[2]
redis = socket.create_connection((url.hostname, url.port or 6379), timeout=30)
answers = redis.makefile("rb")

def read():
    kind, rest = (line := answers.readline().rstrip())[:1], line[1:]
    if kind == b"-": raise RuntimeError(rest.decode())
    if kind == b"$": return None if rest == b"-1" else answers.read(int(rest) + 2)[:-2].decode()
    if kind == b"*": return [read() for _ in range(int(rest))]
    return rest.decode()

def call(*words):
    words = [str(word).encode() for word in words]
    redis.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
    return read()

if url.password: call("AUTH", url.username or "default", url.password)
order = {"client_order_id": "py-1", "symbol": "BTCUSDT", "side": "Buy", "quantity": "0.25", "order_type": "Market"}
entry = call("XADD", prefix + ":pending", "*", "order", json.dumps(order))
last = "0"
while True:
    for _, entries in call("XREAD", "BLOCK", 20000, "STREAMS", prefix + ":completed", last) or sys.exit("no outcome"):
        for last, fields in entries:
            outcome = dict(zip(fields[::2], fields[1::2]))
            if outcome["entry_id"] == entry: sys.exit(print(json.dumps(outcome)))

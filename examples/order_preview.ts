// What an order window needs: submit, cancel, and each order live without gaps.
//
//     node order_preview.js buy 0.5 BTCUSDT at 44000 [cancel]      (the demonstration at the bottom)
//
// `OrderPreview` is the module: a Tauri window would import it in its sidecar and hand `onChange` to the view.
// Amounts stay the strings that the worker writes. To compute with them use a decimal library: never `Number`.

import { pathToFileURL } from "node:url";
import { createClient } from "redis";
import type {
  CompletedOutcome,
  FailedOutcome,
  NewOrder,
  Order,
  Side,
  Status,
  StatusMessage,
} from "../docs/types/order-execution.js";

/** What a window shows of an order. */
export interface View {
  client_order_id: string;
  status: Status;
  filled_quantity: string;
  remaining_quantity: string;
  average_fill_price: string | null;
  reason: string | null;
  version: number;
}

export type Outcome = CompletedOutcome | FailedOutcome;
type Listener = (view: View) => void;
type Client = ReturnType<typeof client>;

interface Followed {
  view?: View;
  onChange: Listener;
}

/** Outcomes of requests that nobody waits for (yet): other producers' mostly. */
const MAX_UNCLAIMED = 1000;

export class OrderPreview {
  private readonly followed = new Map<string, Followed>();
  private readonly waiting = new Map<string, (outcome: Outcome) => void>();
  private readonly unclaimed = new Map<string, Outcome>();
  private readonly commands: Client;
  private readonly messages: Client;
  private readonly outcomes: Client;
  private open = true;

  private constructor(
    url: string,
    private readonly prefix: string,
  ) {
    // A connection each: one that subscribes, or waits for a stream, can do nothing else meanwhile.
    [this.commands, this.messages, this.outcomes] = [client(url), client(url), client(url)];
    for (const each of [this.commands, this.messages, this.outcomes]) {
      each.on("error", (error) => this.open && console.error(`Redis: ${String(error)}`));
    }
  }

  static async connect(url: string, prefix = "orders"): Promise<OrderPreview> {
    const preview = new OrderPreview(url, prefix);
    await Promise.all([preview.commands.connect(), preview.messages.connect(), preview.outcomes.connect()]);
    await preview.messages.subscribe(preview.key("status"), (text) => preview.take(JSON.parse(text)));
    // The client subscribes again by itself after a lost connection; what was said meanwhile is read here.
    preview.messages.on("ready", () => void preview.rereadAll());
    const after = new Map<string, string>();
    for (const name of ["completed", "failed"]) after.set(preview.key(name), await preview.newest(name));
    void preview.readOutcomes(after);
    return preview;
  }

  /**
   * Sends an order and follows it; ends with the outcome of this very request. `onChange` gets states in their order
   * and none twice; where it was not told of one in time, it gets a newer one. Give every order a `client_order_id` of its own and keep it: sent again under it, nothing executes twice.
   */
  async submit(order: NewOrder & { client_order_id: string }, onChange: Listener): Promise<Outcome> {
    await this.follow(order.client_order_id, onChange);
    return this.request("order", order, order.client_order_id);
  }

  /** Asks for an order to be cancelled. Ends with that request's outcome: it may come too late. */
  cancel(client_order_id: string): Promise<Outcome> {
    return this.request("cancel", { client_order_id }, client_order_id);
  }

  /** Follows an order, whoever sent it. The subscription is there first, so nothing falls between it and the read. */
  async follow(client_order_id: string, onChange: Listener): Promise<void> {
    this.followed.set(client_order_id, { onChange });
    await this.reread(client_order_id);
  }

  close(): void {
    this.open = false;
    for (const client of [this.commands, this.messages, this.outcomes]) client.destroy();
  }

  // ---- status: versions continue each other; one that is known is dropped, at a gap the whole order is read

  private take(message: StatusMessage): void {
    const followed = this.followed.get(message.client_order_id);
    if (!followed) return;
    const known = followed.view?.version ?? 0;
    if (message.version <= known) return;
    if (message.first_version !== known + 1) {
      void this.reread(message.client_order_id);
      return;
    }
    this.show(followed, message, message.status, message.reason);
  }

  /** `orders:state:<id>` never moves backwards, so it may be read at any time. */
  private async reread(client_order_id: string): Promise<void> {
    try {
      const text = await this.commands.get(this.key(`state:${client_order_id}`));
      const followed = this.followed.get(client_order_id);
      if (text === null || !followed) return;
      const order = JSON.parse(text) as Order;
      const { name, reason } = bare(order);
      this.show(followed, order, name, reason);
    } catch (error) {
      // The connection is gone; once it is back, "ready" reads all of them.
      if (this.open) console.error(`order ${client_order_id} could not be read: ${String(error)}`);
    }
  }

  private async rereadAll(): Promise<void> {
    for (const client_order_id of this.followed.keys()) await this.reread(client_order_id);
  }

  private show(followed: Followed, of: StatusMessage | Order, status: Status, reason: string | null): void {
    // While the state was being read a newer message may have come.
    if (of.version <= (followed.view?.version ?? 0)) return;
    const { client_order_id, filled_quantity, remaining_quantity, average_fill_price, version } = of;
    followed.view = {
      client_order_id,
      status,
      filled_quantity,
      remaining_quantity,
      average_fill_price,
      reason,
      version,
    };
    followed.onChange(followed.view);
  }

  // ---- requests and their outcomes

  private async request(field: "order" | "cancel", content: object, client_order_id: string): Promise<Outcome> {
    const entry = await this.commands.xAdd(this.key("pending"), "*", { [field]: JSON.stringify(content) });
    // The outcome may have been read before the answer to our own XADD.
    const early = this.unclaimed.get(entry);
    const outcome = early ?? (await new Promise<Outcome>((resolve) => this.waiting.set(entry, resolve)));
    // Messages come on a connection of their own, perhaps later. What an outcome tells the state already holds.
    await this.reread(client_order_id);
    return outcome;
  }

  /** An order that is refused before it becomes one makes no status message: only its outcome tells. */
  private async readOutcomes(after: Map<string, string>): Promise<void> {
    while (this.open) {
      try {
        const streams = [...after].map(([key, id]) => ({ key, id }));
        const read = await this.outcomes.xRead(streams, { BLOCK: 1000, COUNT: 500 });
        for (const { name, messages } of read ?? []) {
          for (const { id, message } of messages) {
            after.set(name, id);
            this.settle(message as unknown as Outcome);
          }
        }
      } catch (error) {
        if (!this.open) return;
        console.error(`outcomes cannot be read, trying again: ${String(error)}`);
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }
  }

  private settle(outcome: Outcome): void {
    const resolve = this.waiting.get(outcome.entry_id);
    if (resolve) {
      this.waiting.delete(outcome.entry_id);
      resolve(outcome);
      return;
    }
    this.unclaimed.set(outcome.entry_id, outcome);
    const oldest = this.unclaimed.keys().next();
    if (this.unclaimed.size > MAX_UNCLAIMED && !oldest.done) this.unclaimed.delete(oldest.value);
  }

  private async newest(name: string): Promise<string> {
    const last = await this.commands.xRevRange(this.key(name), "+", "-", { COUNT: 1 });
    return last?.[0]?.id ?? "0-0";
  }

  private key(name: string): string {
    return `${this.prefix}:${name}`;
  }
}

function client(url: string) {
  return createClient({ url, RESP: 2 });
}

/** The bare name of an order's status, and why it was rejected. */
function bare({ status }: Order): { name: Status; reason: string | null } {
  if (typeof status === "string") return { name: status, reason: null };
  if ("Rejected" in status) return { name: "Rejected", reason: status.Rejected.reason };
  return { name: "PartiallyFilled", reason: null };
}

/** buy|sell QUANTITY SYMBOL [at PRICE] [cancel]: prints each state as a line of JSON, then the outcomes. */
async function demonstrate(words: string[]): Promise<void> {
  const [way, quantity, symbol] = words;
  if ((way !== "buy" && way !== "sell") || !quantity || !symbol) {
    throw new Error("usage: order_preview.js buy|sell QUANTITY SYMBOL [at PRICE] [cancel]");
  }
  const side: Side = way === "buy" ? "Buy" : "Sell";
  const at = words.indexOf("at");
  const price = at < 0 ? undefined : words[at + 1];
  const client_order_id = process.env.CLIENT_ORDER_ID ?? `preview-${crypto.randomUUID()}`;
  const preview = await OrderPreview.connect(
    process.env.REDIS_URL ?? "redis://127.0.0.1:6379/",
    process.env.PREFIX ?? "orders",
  );
  const print = (what: string, of: object) => console.log(JSON.stringify({ what, ...of }));
  const order = { client_order_id, symbol, side, quantity, order_type: price ? { Limit: { price } } : "Market" } as const;
  print("outcome", await preview.submit(order, (view) => print("state", view)));
  if (words.includes("cancel")) print("outcome", await preview.cancel(client_order_id));
  preview.close();
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await demonstrate(process.argv.slice(2));
}

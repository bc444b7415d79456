// Drives the example's module: preview_driver.mjs <module> <url> <prefix> <what> <client order id>
//   follow: prints each view of an order
//   late:   submits an order; its request is answered only when its outcome has been read; prints the outcome
const [path, url, prefix, what, id] = process.argv.slice(2);
const { OrderPreview } = await import(path);
const preview = await OrderPreview.connect(url, prefix);
if (what === "follow") {
  await preview.follow(id, (view) => console.log(JSON.stringify(view)));
} else {
  const { xAdd } = preview.commands;
  preview.commands.xAdd = async (...words) => {
    const entry = await xAdd.apply(preview.commands, words);
    while (!preview.unclaimed.has(entry)) await new Promise((resolve) => setTimeout(resolve, 5));
    return entry;
  };
  // A promise that nothing keeps would let the process end in silence, or hang.
  const tooLate = setTimeout(() => process.exit(9), 20_000);
  const order = { client_order_id: id, symbol: "BTCUSDT", side: "Buy", quantity: "1", order_type: "Market" };
  console.log(JSON.stringify(await preview.submit(order, () => {})));
  clearTimeout(tooLate);
  preview.close();
}

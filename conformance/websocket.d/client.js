// What Node's `ws` sees of a site: client.js ADDRESS PORT HOST RELOAD….
const child_process = require("node:child_process");
const crypto = require("node:crypto");
const net = require("node:net");
const WebSocket = require("ws");

const [address, port, host, ...reload] = process.argv.slice(2);
const MANY = 1000;
let passed = 0;

function check(what, holds) {
  if (!holds) {
    console.error(`node ws: not as it should be: ${what}`);
    process.exit(1);
  }
  passed += 1;
}

function door(path = "/", options = {}) {
  return new WebSocket(`ws://${host}${path}`, { createConnection: () => net.connect(port, address), ...options });
}

const once = (socket, event) =>
  new Promise((resolve, reject) => {
    socket.once(event, (...values) => resolve(values));
    socket.once("error", reject);
  });

async function main() {
  const one = door();
  await once(one, "open");
  const large = crypto.randomBytes(1 << 20);
  one.send(large);
  const [back, binary] = await once(one, "message");
  check("1 MiB comes back", binary && back.equals(large));
  one.send("in ", { fin: false });
  one.send("two fragments", { fin: true });
  const [text] = await once(one, "message");
  check("fragments come back as one message", text.toString() === "in two fragments");
  one.ping("are you there");
  const [pong] = await once(one, "pong");
  check("a ping is answered", pong.toString() === "are you there");
  one.close(4001, "enough");
  const [code] = await once(one, "close");
  check("our close code is agreed to", code === 4001);

  const other = door("/close/4242");
  await once(other, "open");
  other.send("now");
  const [theirs] = await once(other, "close");
  check("the application's close code arrives", theirs === 4242);

  const squeezed = door("/", { perMessageDeflate: true });
  await once(squeezed, "open");
  squeezed.send("a".repeat(100000));
  const [long] = await once(squeezed, "message");
  check("with compression offered, too", long.length === 100000);
  squeezed.terminate();

  const many = Array.from({ length: MANY }, () => door());
  await Promise.all(many.map((socket) => once(socket, "open")));
  const [changed] = await once(child_process.spawn(reload[0], reload.slice(1), { stdio: "inherit" }), "close");
  check("balancer and web servers are reloaded", changed === 0);
  many.forEach((socket, number) => socket.send(`after ${number}`));
  const heard = await Promise.all(many.map((socket) => once(socket, "message")));
  check(`${MANY} connections outlive a reload`, heard.every(([said], number) => said.toString() === `after ${number}`));
  many.forEach((socket) => socket.terminate());
  console.log(`node ws ${require("ws/package.json").version}: ${passed} checks passed, 0 failed`);
}

main().catch((error) => {
  console.error(`node ws: ${error}`);
  process.exit(1);
});

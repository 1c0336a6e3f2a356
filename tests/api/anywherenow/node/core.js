// The client of ASP.NET Core SignalR: node core.js URL TOKEN UCC [direct]
// Prints one JSON array for each thing that happens; the line "stop" on its input ends it.
const path = require("path");
const signalR = require(path.join(process.cwd(), "node_modules", "@microsoft", "signalr"));

const [url, token, ucc, mode] = process.argv.slice(2);
const say = (...words) => console.log(JSON.stringify(words));

const options = { accessTokenFactory: () => token };
if (mode === "direct") {
  options.skipNegotiation = true;
  options.transport = signalR.HttpTransportType.WebSockets;
}
const hub = new signalR.HubConnectionBuilder()
  .withUrl(url, options)
  .withAutomaticReconnect([0, 100, 500, 1000])
  .configureLogging(signalR.LogLevel.None)
  .build();

hub.on("RecordingStateChangedEvent", (change) => say("event", change));
hub.onreconnecting(() => say("reconnecting"));
hub.onreconnected(async () => {
  await hub.invoke("Subscribe", ucc);
  say("reconnected");
});
hub.onclose((error) => {
  say("closed", error ? error.message : null);
  process.exit(0);
});
process.stdin.on("data", () => hub.stop());

(async () => {
  await hub.start();
  for (const [method, argument] of [["Subscribe", "nothing"], ["Nothing", ucc]]) {
    await hub.invoke(method, argument).catch((error) => say("refused", error.message));
  }
  await hub.invoke("Subscribe", ucc);
  say("ready");
})().catch((error) => {
  say("failed", error.message);
  process.exit(1);
});

// The client of ASP.NET SignalR 2 in a browser's surroundings: node classic.js URL TOKEN UCC
// Prints one JSON array for each thing that happens; the line "stop" on its input ends it.
const path = require("path");
const load = (name) => require(path.join(process.cwd(), "node_modules", name));

const [url, token, ucc] = process.argv.slice(2);
const say = (...words) => console.log(JSON.stringify(words));

const { window } = new (load("jsdom").JSDOM)("", { url });
const $ = load("jquery")(window);
window.jQuery = $;
global.window = window;
load("signalr");

const connection = $.hubConnection(url, { useDefaultPath: false, qs: { access_token: token } });
connection.reconnectDelay = 50;
const hub = connection.createHubProxy("RecordingHub");
hub.on("RecordingStateChangedEvent", (change) => say("event", change));
connection.reconnecting(() => say("reconnecting"));
connection.reconnected(() => say("reconnected"));
let asked = false;
connection.disconnected(() => {
  say("closed", asked || !connection.lastError ? null : connection.lastError.message);
  setTimeout(() => process.exit(0), 200);
});
process.stdin.on("data", () => {
  asked = true;
  connection.stop();
});

const invoke = (method, argument) =>
  new Promise((done, failed) => hub.invoke(method, argument).done(done).fail(failed));

connection
  .start({ transport: "webSockets", waitForPageLoad: false })
  .done(async () => {
    for (const [method, argument] of [["Subscribe", "nothing"], ["Nothing", ucc]]) {
      await invoke(method, argument).catch((error) => say("refused", error.message));
    }
    await invoke("Subscribe", ucc);
    say("ready");
  })
  .fail((error) => {
    say("failed", error.message);
    process.exit(1);
  });

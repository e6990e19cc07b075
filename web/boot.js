// Starts the portal. A file of its own, because the content security policy allows no inline script. What can be on its way
// at the same time is: the module is compiled while it comes, and who is logged in is asked before it can ask.

// Before the first paint, so that a chosen theme does not flash.
try {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {}

const module = fetch("/{{wasm}}").then((response) => WebAssembly.compileStreaming(response));
const asked = new Map([["/api/v1/me", fetch("/api/v1/me")]]);
// Their failures are told where they are waited for.
for (const promise of [module, ...asked.values()]) promise.catch(() => {});

// The response to what is asked here, once.
globalThis.takeAsked = (path) => {
  const response = asked.get(path);
  asked.delete(path);
  return response;
};

// The large charts come when a page shows one. Their file's name stands here, because the portal's code is built before it.
const charts = "{{charts}}";
globalThis.importCharts = () =>
  charts ? import(`/${charts}`) : Promise.reject(new Error("This portal was built without its large charts."));

// This script waits for nothing, not even for the page's end.
const parsed = new Promise((done) => {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", done, { once: true });
  else done();
});

try {
  const [{ default: init }] = await Promise.all([import("/{{glue}}"), parsed]);
  await init({ module_or_path: module });
} catch (error) {
  const text = document.createElement("p");
  text.className = "boot";
  text.textContent = `The portal could not start: ${error}. Reload the page; if it stays so, use a newer browser.`;
  document.body.append(text);
}

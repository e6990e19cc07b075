// Starts the portal. A file of its own, because the content security policy allows no inline script.
import init from "/{{glue}}";

// Before the first paint, so that a chosen theme does not flash.
try {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {}

// The large charts come when a page shows one. Their file's name stands here, because the portal's code is built before it.
const charts = "{{charts}}";
globalThis.importCharts = () =>
  charts ? import(`/${charts}`) : Promise.reject(new Error("This portal was built without its large charts."));

init({ module_or_path: "/{{wasm}}" }).catch((error) => {
  const text = document.createElement("p");
  text.className = "boot";
  text.textContent = `The portal could not start: ${error}. Reload the page; if it stays so, use a newer browser.`;
  document.body.append(text);
});

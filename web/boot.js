// Starts the portal. A file of its own, because the content security policy allows no inline script.
import init from "/{{glue}}";

// Before the first paint, so that a chosen theme does not flash.
try {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {}

init({ module_or_path: "/{{wasm}}" }).catch((error) => {
  const text = document.createElement("p");
  text.className = "boot";
  text.textContent = `The portal could not start: ${error}. Reload the page; if it stays so, use a newer browser.`;
  document.body.append(text);
});

// Colours and patterns of the charts: the style sheets' own, as this page shows them now.

/** The style sheets' colours, in the present scheme. */
export function colours(element) {
  const probe = document.createElement("span");
  probe.hidden = true;
  element.parentElement.append(probe);
  const of = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const names = ["ink", "soft", "sheet", "line"];
  const look = Object.fromEntries(names.map((name) => [name, of(name)]));
  const known = new Map();
  const dark = luminance(look.sheet) < 0.5;
  // Read now: the probe goes.
  for (let number = 1; number <= 8; number += 1) known.set(`chart-${number}`, of(`chart-${number}`));
  for (const name of ["chart-other", "good", "warn", "bad", "accent", "wasm", "vm", "placed", "waited", "soft", "ink"]) known.set(name, of(name));
  const font = getComputedStyle(probe).fontFamily;
  probe.remove();
  return {
    ...look, font, dark,
    of: (name) => known.get(name) ?? look.soft,
    hatch: (colour) => ({ symbol: "rect", color: colour, dashArrayX: [1, 0], dashArrayY: [2, 5], rotation: -Math.PI / 4 }),
  };
}

/** Patterns, so that parts are told apart without colours; the first is plain. */
export function decals({ dark }) {
  const color = dark ? "rgba(0, 0, 0, 0.38)" : "rgba(255, 255, 255, 0.42)";
  const lines = (rotation) => ({ color, symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 5], rotation });
  return [
    { symbol: "none" },
    lines(Math.PI / 4),
    { color, symbol: "circle", symbolSize: 0.8, dashArrayX: [[6, 6], [0, 6, 6, 0]], dashArrayY: [5, 0] },
    lines(-Math.PI / 4),
    lines(0),
    { color, symbol: "rect", dashArrayX: [5, 5], dashArrayY: [5, 5] },
    lines(Math.PI / 2),
    { color, symbol: "triangle", symbolSize: 0.9, dashArrayX: [[8, 8], [0, 8, 8, 0]], dashArrayY: [8, 2] },
    { symbol: "none" },
  ];
}

/** From 0 (black) to 1, of a colour as the browser writes it. */
function luminance(colour) {
  const [red = 0, green = 0, blue = 0] = (colour.match(/[\d.]+/g) ?? []).map(Number);
  return (0.299 * red + 0.587 * green + 0.114 * blue) / 255;
}

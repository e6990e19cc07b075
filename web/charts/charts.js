// The portal's large charts: ECharts, as much of it as they need, drawing SVG. `web/src/charts/large.rs` imports this file
// when a page shows a chart, and `web/src/charts/model.rs` says what a model holds. Styles are set by the CSS object model
// alone, and tips are elements: the content security policy holds for them too.
import { init, use } from "echarts/core";
import { BarChart, LineChart, PieChart } from "echarts/charts";
import { AriaComponent, GridComponent, LegendPlainComponent, MarkLineComponent, TooltipComponent } from "echarts/components";
import { SVGRenderer } from "echarts/renderers";
import { colours, decals } from "./looks.js";

use([
  BarChart, LineChart, PieChart,
  AriaComponent, GridComponent, LegendPlainComponent, MarkLineComponent, TooltipComponent,
  SVGRenderer,
]);

const FONT_SIZE = 13;
const LEGEND_ROW = 24;
const PLOT_HEIGHT = 240;
/** No pattern. */
const PLAIN = { symbol: "none" };
/** Points closer than this are a line alone. */
const POINT_ROOM = 14;

/**
 * Draws a chart.
 * @param {HTMLElement} element Where: it becomes as high as the chart needs.
 * @param {string} model What, as JSON.
 * @param {(value: number) => string} format How a value is written.
 * @param {(series: number, place: number) => void} chosen Something was clicked that has rows.
 */
export function draw(element, model, format, chosen) {
  return new Chart(element, JSON.parse(model), format, chosen);
}

class Chart {
  constructor(element, model, format, chosen) {
    Object.assign(this, { element, model, format });
    this.chart = init(element, null, { renderer: "svg" });
    this.chart.on("click", ({ componentType, seriesIndex, dataIndex }) => {
      if (componentType !== "series") return;
      if (this.model.kind === "ring") chosen(dataIndex, 0);
      else if (seriesIndex < this.model.series.length) chosen(seriesIndex, dataIndex);
    });
    this.ended = new AbortController();
    const again = () => this.paint();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again, { signal: this.ended.signal });
    this.themes = new MutationObserver(again);
    this.themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    this.sizes = new ResizeObserver(([entry]) => {
      if (Math.round(entry.contentRect.width) !== this.width) this.paint();
    });
    this.paint();
    this.sizes.observe(element);
  }

  /** Shows another model. */
  update(model) {
    this.model = JSON.parse(model);
    this.paint();
  }

  /** The picture, as a file of its own. */
  svg() {
    return this.chart.renderToSVGString({ useViewBox: true });
  }

  dispose() {
    this.ended.abort();
    this.themes.disconnect();
    this.sizes.disconnect();
    this.chart.dispose();
  }

  paint() {
    this.width = Math.round(this.element.clientWidth);
    if (!this.width) return;
    const legend = legendRows(this.names(), this.width) * LEGEND_ROW;
    this.element.style.height = `${PLOT_HEIGHT + legend}px`;
    this.chart.resize();
    this.chart.setOption(this.option(legend), { notMerge: true });
  }

  names() {
    const names = this.model.series.map((series) => series.name);
    return this.model.marks.length ? [...names, "Deployments"] : names;
  }

  option(legend) {
    const look = colours(this.element);
    const { model } = this;
    const text = { color: look.soft, fontSize: FONT_SIZE, fontFamily: look.font };
    const shared = {
      animation: false,
      backgroundColor: look.sheet,
      textStyle: { fontFamily: look.font },
      aria: { enabled: true, label: { description: model.text }, decal: { show: true, decals: decals(look) } },
      legend: {
        bottom: 0, left: 0, itemWidth: 14, itemHeight: 14, itemGap: 14, icon: model.kind === "lines" ? undefined : "roundRect",
        textStyle: { ...text, color: look.ink },
      },
      tooltip: {
        confine: true, backgroundColor: look.sheet, borderColor: look.line, borderWidth: 1, padding: [8, 10],
        extraCssText: "box-shadow: none", textStyle: { ...text, color: look.ink }, transitionDuration: 0,
        trigger: model.kind === "ring" ? "item" : "axis", axisPointer: { type: model.kind === "lines" ? "line" : "shadow" },
        formatter: (found) => this.tip(Array.isArray(found) ? found : [found]),
      },
    };
    if (model.kind === "ring") return { ...shared, series: [this.ring(look, legend)] };
    const axis = { axisLabel: { ...text, hideOverlap: true }, axisLine: { lineStyle: { color: look.line } }, axisTick: { show: false } };
    return {
      ...shared,
      grid: { left: 4, right: 12, top: model.marks.length ? 28 : 12, bottom: legend + 8, containLabel: true },
      xAxis: {
        type: "category", data: model.places.map((place) => place.short), boundaryGap: model.kind === "bars", ...axis,
        // Every label that fits: some have none, and which they are is not for the axis to choose.
        axisLabel: { ...axis.axisLabel, interval: 0 },
      },
      yAxis: {
        type: "value", splitNumber: 3, minInterval: model.whole ? 1 : 0, ...axis, axisLine: { show: false },
        axisLabel: { ...text, formatter: (value) => this.format(value) }, splitLine: { lineStyle: { color: look.line } },
      },
      series: [...model.series.map((series) => this.series(series, look)), ...this.marks(look)],
    };
  }

  series(series, look) {
    const colour = look.of(series.colour);
    const common = { name: series.name, data: series.values, itemStyle: { color: colour }, emphasis: { disabled: true } };
    if (isLine(this.model, series)) {
      const room = this.width / Math.max(series.values.length, 1);
      return {
        ...common, itemStyle: { color: colour, decal: PLAIN }, type: "line", symbolSize: 6, showSymbol: room >= POINT_ROOM || lonely(series.values), connectNulls: false,
        lineStyle: { color: colour, width: 1.75, type: series.dashed ? "dashed" : "solid" }, cursor: series.linked ? "pointer" : "default",
      };
    }
    const hatched = { color: look.sheet, borderColor: colour, borderWidth: 1, borderType: "dashed", decal: look.hatch(colour) };
    return {
      ...common, type: "bar", stack: "all", barMaxWidth: 40, cursor: series.linked ? "pointer" : "default",
      itemStyle: series.hatched ? hatched : common.itemStyle,
    };
  }

  ring(look, legend) {
    const { series, name } = this.model;
    return {
      type: "pie", name, emphasis: { scale: false }, radius: ["52%", "82%"], center: ["50%", PLOT_HEIGHT / 2], height: PLOT_HEIGHT, bottom: legend, label: { show: false },
      data: series.map((part) => ({
        name: part.name, value: part.values[0],
        itemStyle: { color: look.of(part.colour), borderColor: look.sheet, borderWidth: 1 },
      })),
    };
  }

  /** Deployments, as lines across the chart. */
  marks(look) {
    const { marks } = this.model;
    if (!marks.length) return [];
    const labelled = marksFit(marks, this.model.places.length, this.width);
    return [{
      type: "line", name: "Deployments", data: [], itemStyle: { color: look.ink, decal: PLAIN }, lineStyle: { color: look.ink, type: "dotted", width: 1.5 }, symbol: "none",
      markLine: {
        silent: true, symbol: "none", lineStyle: { color: look.ink, type: "dotted", width: 1.5 },
        label: { show: labelled, formatter: "{b}", color: look.soft, fontSize: FONT_SIZE, distance: 4, fontFamily: look.font },
        data: marks.map((mark) => ({ xAxis: mark.place, name: mark.name })),
      },
    }];
  }

  /** What is under the pointer. */
  tip(found) {
    const { model } = this;
    const tip = element("div", "chart-tip");
    const rows = element("dl", "chart-tip-rows");
    if (model.kind !== "ring") tip.append(element("b", "", model.places[found[0].dataIndex]?.long ?? ""));
    for (const one of found) {
      if (one.value === null || one.value === undefined || (model.kind === "bars" && !one.value)) continue;
      const name = element("dt", "", one.seriesType === "pie" ? one.name : one.seriesName);
      const swatch = element("span", "chart-tip-swatch");
      swatch.style.backgroundColor = one.color;
      name.prepend(swatch);
      rows.append(name, element("dd", "", this.format(one.value)));
    }
    tip.append(rows);
    for (const mark of model.marks) {
      if (mark.place === found[0].dataIndex) tip.append(element("p", "soft", `Deployed: ${mark.name}`));
    }
    return tip;
  }
}

const isLine = (model, series) => model.kind === "lines" || series.line;

/** Whether a value has no neighbour that a line could lead to. */
function lonely(values) {
  const there = (value) => value !== null && value !== undefined;
  return values.some((value, index) => there(value) && !there(values[index - 1]) && !there(values[index + 1]));
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

/** Whether all names of marks can stand above them without lying on each other; else the tips name them. */
function marksFit(marks, places, width) {
  let free = 0;
  return marks.every(({ place, name }) => {
    const middle = ((place + 0.5) / places) * width;
    const half = textWidth(name) / 2 + 8;
    const fits = middle - half >= free && middle + half <= width;
    free = middle + half;
    return fits;
  });
}

const pen = document.createElement("canvas").getContext("2d");

function textWidth(text) {
  pen.font = `${FONT_SIZE}px system-ui, sans-serif`;
  return pen.measureText(text).width;
}

/** How many lines the names take below the chart. */
function legendRows(names, width) {
  let rows = 1;
  let used = 0;
  for (const name of names) {
    const wide = textWidth(name) + 14 + 5 + 14;
    if (used > 0 && used + wide > width - 10) {
      rows += 1;
      used = 0;
    }
    used += wide;
  }
  return rows;
}

//! Charts. Small ones are SVG of our own. Large ones are drawn by ECharts, which comes after the page is painted; each has a
//! table behind it, which is there with and without it.

mod card;
mod large;
pub(crate) mod model;
mod sheet;
mod small;
mod unit;

pub(crate) use card::{Card, Chart, shown};
pub(crate) use sheet::{Cell, Sheet};
pub(crate) use small::{Segment, legend, sparkline, stacked_bar};
pub(crate) use unit::Unit;

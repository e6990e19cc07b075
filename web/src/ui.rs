//! The parts that pages are made of.

pub(crate) mod body;
pub(crate) mod broken;
pub(crate) mod code;
pub(crate) mod columns;
pub(crate) mod copy;
pub(crate) mod dialog;
pub(crate) mod form;
pub(crate) mod icon;
pub(crate) mod job_bar;
pub(crate) mod lane;
pub(crate) mod limits;
pub(crate) mod live;
pub(crate) mod log;
pub(crate) mod meter;
pub(crate) mod page;
pub(crate) mod palette;
pub(crate) mod period;
pub(crate) mod run_bar;
pub(crate) mod runs;
pub(crate) mod table;
pub(crate) mod theme;
pub(crate) mod tile;
pub(crate) mod time;
pub(crate) mod trouble;
pub(crate) mod upload;
pub(crate) mod why;
